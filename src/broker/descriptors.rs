//! Who may have how many of the file descriptors that the process may open.

/// The shares of logs and connections. Beside them go the runtime, listeners, locks and stores, files that are opened for a
/// moment, and those that responses on their way still hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptors {
    pub(super) logs: usize,
    pub(super) connections: usize,
}

const RESERVE_MIN: usize = 24;
const RESERVE_MAX: usize = 1024;
/// With less than this a broker cannot work, whatever the limit.
const SHARE_MIN: usize = 4;

impl Descriptors {
    /// Half to the logs, unless `log.max.open.files` says otherwise.
    pub(super) fn of(limit: usize, configured: Option<usize>) -> Descriptors {
        let rest = limit.saturating_sub((limit / 8).clamp(RESERVE_MIN, RESERVE_MAX));
        let logs = configured.unwrap_or(limit / 2).min(rest.saturating_sub(SHARE_MIN)).max(SHARE_MIN);
        Descriptors { logs, connections: rest.saturating_sub(logs).max(SHARE_MIN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_and_connections_never_have_more_than_there_is() {
        for limit in 32..5000 {
            for configured in [None, Some(1), Some(100), Some(usize::MAX)] {
                let Descriptors { logs, connections } = Descriptors::of(limit, configured);
                assert!(logs + connections + RESERVE_MIN <= limit, "{limit} {configured:?}: {logs} + {connections}");
                assert!(logs >= SHARE_MIN && connections >= SHARE_MIN);
            }
        }
        assert_eq!(Descriptors::of(64, None), Descriptors { logs: 32, connections: 8 });
        assert_eq!(Descriptors::of(1024, Some(100)), Descriptors { logs: 100, connections: 796 });
    }
}
