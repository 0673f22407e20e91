//! Requests at a fixed rate, whether the answers come in time or not: a latency counts from when the request was due, so
//! that one that is late makes those behind it late too.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Sleeps end when they are told to, and not up to 50 µs later.
const TIMER_SLACK_NS: u64 = 1_000;

/// When the requests are due.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    first: Instant,
    period: Duration,
    pub count: u32,
}

impl Schedule {
    /// For so long, beginning in a moment.
    pub fn of(period: Duration, time: Duration) -> Schedule {
        let count = (time.as_nanos() / period.as_nanos()) as u32;
        Schedule { first: Instant::now() + Duration::from_millis(20), period, count }
    }

    pub fn due(&self, number: u32) -> Instant {
        self.first + self.period * number
    }

    /// Does something at each time that is due. Gives how late the generator itself was.
    pub fn keep(&self, mut act: impl FnMut()) -> Histogram<u64> {
        nix::sys::prctl::set_timerslack(TIMER_SLACK_NS).unwrap();
        let mut lateness = histogram();
        for number in 0..self.count {
            let due = self.due(number);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            record(&mut lateness, due.elapsed());
            act();
        }
        lateness
    }
}

/// What a paced exchange saw, in ns.
pub struct Paced {
    pub answers: Histogram<u64>,
    pub lateness: Histogram<u64>,
}

/// Sends the frame whenever it is due, over one connection, and takes the answers as they come. `error_at` is where the error
/// code stands in them.
pub fn exchange(address: SocketAddr, frame: &[u8], error_at: usize, schedule: Schedule) -> Paced {
    let mut sending = TcpStream::connect(address).unwrap();
    sending.set_nodelay(true).unwrap();
    let mut receiving = sending.try_clone().unwrap();
    std::thread::scope(|scope| {
        let answers = scope.spawn(move || {
            let (mut answers, mut answer) = (histogram(), Vec::new());
            for number in 0..schedule.count {
                let mut length = [0; 4];
                receiving.read_exact(&mut length).unwrap();
                answer.resize(i32::from_be_bytes(length) as usize, 0);
                receiving.read_exact(&mut answer).unwrap();
                assert_eq!(answer[error_at..error_at + 2], [0, 0], "a request was refused");
                record(&mut answers, schedule.due(number).elapsed());
            }
            answers
        });
        let lateness = schedule.keep(|| sending.write_all(frame).unwrap());
        Paced { answers: answers.join().unwrap(), lateness }
    })
}

pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

pub fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.record(time.as_nanos() as u64).unwrap();
}
