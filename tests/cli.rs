//! The binary as its user meets it: help, version, mistakes. None of these tests needs a broker that runs.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn ottla() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let foreign = |name: &str| name.starts_with("KAFKA_") || name == "OTTLA_LOG" || name == "OTTLA_CONTAINER";
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(foreign)) {
        command.env_remove(name);
    }
    command
}

fn run(args: &[&str]) -> Output {
    ottla().args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What ends with 2 and this on stderr.
fn refuses(args: &[&str], message: &str) {
    let output = run(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    assert_eq!(text(&output.stderr), format!("ottla: {message}\n"));
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn version_is_one_line() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), format!("ottla {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_names_options_sources_and_examples() {
    for args in [&["--help"][..], &["serve", "--help"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0));
        let help = text(&output.stdout);
        for part in [
            "--config <FILE>",
            "--override <KEY=VALUE>",
            "--listen",
            "--data",
            "--adopt",
            "--log",
            "OTTLA_LOG",
            "KAFKA_*",
            "Examples:",
        ] {
            assert!(help.contains(part), "{args:?}: no {part} in\n{help}");
        }
        assert!(help.lines().count() <= 40, "{help}");
    }
}

#[test]
fn an_unknown_option_is_a_mistake_of_the_user() {
    let output = run(&["--lisen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--listen"), "{output:?}");
}

#[test]
fn a_bad_value_stops_the_start_with_key_value_and_what_is_allowed() {
    refuses(
        &["--override", "listeners=PLAINTXT://:9092"],
        "listeners: 'PLAINTXT://:9092': unknown security protocol (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)",
    );
    refuses(
        &["serve", "--override", "num.partitions=0"],
        "Invalid value 0 for configuration num.partitions: Value must be at least 1 (set by --override)",
    );
    refuses(&["--override", "num.partitions"], "--override: 'num.partitions': not KEY=VALUE");
    refuses(
        &["--config", "/nowhere/server.properties"],
        "--config: '/nowhere/server.properties': No such file or directory (os error 2)",
    );
}

#[test]
fn a_bad_value_of_the_environment_names_its_variable() {
    let output = ottla().env("KAFKA_NUM_PARTITIONS", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "ottla: Invalid value x for configuration num.partitions: Not a number of type INT (set by KAFKA_NUM_PARTITIONS)\n"
    );
}

#[test]
fn a_bad_filter_is_a_mistake_of_the_user() {
    for output in [run(&["--log", "ottla=loud"]), ottla().env("OTTLA_LOG", "ottla=loud").output().unwrap()] {
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).starts_with("ottla: --log: "), "{output:?}");
    }
}

#[test]
fn a_start_that_fails_ends_with_1() {
    let output = run(&["--listen", "127.0.0.1:0", "--data", "/dev/null/data"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).lines().any(|line| line.starts_with("ottla: ")), "{output:?}");
}

#[test]
fn a_directory_of_another_user_is_said_with_whose_it_must_be() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o555)).unwrap();
    if std::fs::write(dir.path().join("probe"), "").is_ok() {
        return; // root writes where it likes; the containers' drill sees this as another user
    }
    let output = run(&["--listen", "127.0.0.1:0", "--data", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.lines().count() == 1 && said.contains("it must be writable for user "), "{said}");
}

#[test]
fn a_start_says_what_scripts_wait_for_and_health_asks_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--listen", "127.0.0.1:0", "--data", dir.path().to_str().unwrap()];
    let mut broker = ottla().args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(broker.stderr.take().unwrap()).lines().map(Result::unwrap);
    let banner = log.find(|line| line.contains("listens on")).unwrap();
    let address = banner.split("PLAINTEXT://").nth(1).and_then(|rest| rest.split(',').next()).unwrap().to_owned();
    let ready = log.next().unwrap();
    let healthy = run(&["health", &address]);
    let by_environment =
        ottla().arg("health").env("KAFKA_LISTENERS", format!("PLAINTEXT://{address}")).output().unwrap();
    broker.kill().unwrap();
    broker.wait().unwrap();
    // Testcontainers of Java and Go, of Python and Rust, and of .NET and Python where they expect ZooKeeper.
    for awaited in ["Transitioning from RECOVERY to RUNNING", "Kafka Server started", "[KafkaServer id=1] started"] {
        assert!(ready.contains(awaited), "{ready:?}");
    }
    for output in [healthy, by_environment] {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(text(&output.stdout).starts_with(&format!("{address}: serves ")), "{output:?}");
        assert_eq!((text(&output.stdout).lines().count(), text(&output.stderr)), (1, ""));
    }
    let gone = run(&["health", &address]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    assert_eq!(text(&gone.stdout), format!("{address}: Connection refused (os error 111)\n"));
    let nowhere = run(&["health", "no-port"]);
    assert_eq!((nowhere.status.code(), text(&nowhere.stderr).lines().count()), (Some(2), 1), "{nowhere:?}");
}

#[test]
fn an_unknown_key_is_warned_of_in_the_log() {
    let args = ["--override", "log.segment.byts=1", "--listen", "127.0.0.1:0", "--data", "/dev/null/data"];
    let mut broker = ottla().args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(broker.stderr.take().unwrap()).lines().map(Result::unwrap);
    let expected =
        "unknown configuration key 'log.segment.byts' (set by --override); did you mean 'log.segment.bytes'?";
    let warning = log.find(|line| line.contains(expected));
    broker.kill().unwrap();
    broker.wait().unwrap();
    let warning = warning.expect("a warning of the key");
    assert!(warning.contains(" WARN ") && !warning.contains('\x1b'), "{warning:?}");
}
