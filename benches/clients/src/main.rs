//! librdkafka, by the rdkafka crate: obeys the commands of `run`, one in a line, and answers each with a line of JSON.
//! `java/Bench.java` is the same with the Java client.

mod clients;
mod flat;
mod paced;

use std::error::Error;
use std::io::stdin;

use rdkafka::util::get_rdkafka_version;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    println!(r#"{{"version": "librdkafka {}"}}"#, get_rdkafka_version().1);
    for line in stdin().lines() {
        println!("{}", obey(&line?)?);
    }
    Ok(())
}

fn obey(command: &str) -> Outcome<String> {
    Ok(match command.split(' ').collect::<Vec<_>>()[..] {
        ["create", topic, partitions] => clients::create(topic, partitions.parse()?)?,
        ["delete", topic] => clients::delete(topic)?,
        ["produce", topic, count, bytes] => seconds(flat::produce(topic, count.parse()?, bytes.parse()?)?),
        ["consume", topic, partitions, count] => seconds(flat::consume(topic, partitions.parse()?, count.parse()?)?),
        ["paced", topic, partitions, rate, duration, bytes] => {
            let pace = paced::Pace { rate: rate.parse()?, seconds: duration.parse()?, bytes: bytes.parse()? };
            paced::run(topic, partitions.parse()?, &pace)?
        }
        _ => return Err(format!("no such command: {command}").into()),
    })
}

fn seconds(seconds: f64) -> String {
    format!(r#"{{"seconds": {seconds}}}"#)
}
