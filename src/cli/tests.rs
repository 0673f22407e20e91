use std::path::PathBuf;

use clap::CommandFactory;

use super::*;

fn serve(args: &[&str]) -> Serve {
    let cli = Cli::try_parse_from(std::iter::once(&"ottla").chain(args)).unwrap();
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(serve) => serve,
        other => panic!("{other:?}"),
    }
}

fn load(args: &[&str], env: &[(&str, &str)]) -> Config {
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    serve(args).load(env).unwrap().0
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn serve_is_what_is_done_without_a_command() {
    for args in [&["--override", "num.partitions=3"][..], &["serve", "--override", "num.partitions=3"]] {
        assert_eq!(load(args, &[]).topics.partitions, 3, "{args:?}");
    }
}

#[test]
fn a_later_source_overrides_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.properties");
    std::fs::write(&path, "num.partitions=2\nfetch.max.bytes=2000\ngroup.max.size=2\n").unwrap();
    let args = ["--config", path.to_str().unwrap(), "--override", "num.partitions=4"];
    let config =
        load(&args, &[("KAFKA_NUM_PARTITIONS", "3"), ("KAFKA_FETCH_MAX_BYTES", "3000"), ("FETCH_MAX_BYTES", "9")]);
    assert_eq!((config.topics.partitions, config.fetch_max_bytes, config.groups.members_max), (4, 3000, 2));
    assert!(config.topics.auto_create);
}

#[test]
fn listen_and_data_are_repeatable_and_take_lists() {
    let args = ["--listen", "127.0.0.1:1,127.0.0.1:2", "--listen", "[::1]:2", "--data", "/a,/b", "--data", "/c"];
    let config = load(&args, &[("KAFKA_LISTENERS", "PLAINTEXT://127.0.0.1:7"), ("KAFKA_LOG_DIRS", "/z")]);
    let listeners: Vec<_> = config.listeners.iter().map(|one| (one.name.as_str(), one.address.to_string())).collect();
    let expected = [("PLAINTEXT", "127.0.0.1:1"), ("PLAINTEXT_2", "127.0.0.1:2"), ("PLAINTEXT_3", "[::1]:2")];
    assert_eq!(listeners, expected.map(|(name, address)| (name, address.to_owned())));
    assert_eq!(config.log_dirs, ["/a", "/b", "/c"].map(PathBuf::from));
}

#[test]
fn a_bad_filter_or_file_is_a_mistake_of_the_user() {
    let failure = serve(&["--log", "ottla=loud"]).init_tracing().unwrap_err();
    assert!(matches!(failure, Failure::Log(_)), "{failure}");
    let failure = serve(&["--config", "/nowhere/x"]).load([]).unwrap_err();
    assert_eq!(failure.to_string(), "--config: '/nowhere/x': No such file or directory (os error 2)");
}
