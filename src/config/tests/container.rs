use std::path::PathBuf;

use super::*;

type Bound = (String, u16, Option<String>);

/// What this environment gives in a container: name, port and advertised address of each listener; or the error.
fn container(values: &[(&str, &str)]) -> Result<(Config, Vec<String>), String> {
    let mut raw = RawConfig::default();
    raw.environment(env(values)).unwrap();
    raw.fill_in_for_container(Some("4L6g3nShT-eMCtK--X86sw"));
    raw.validate().map_err(|error| error.0)
}

fn bound(config: Config) -> Vec<Bound> {
    let advertised = |one: &Listener| one.advertised.as_ref().map(|(host, port)| format!("{host}:{port}"));
    config.listeners.into_iter().map(|one| (one.name.clone(), one.address.port(), advertised(&one))).collect()
}

fn listener(name: &str, port: u16, advertised: &str) -> Bound {
    (name.to_owned(), port, (!advertised.is_empty()).then(|| advertised.to_owned()))
}

#[test]
fn where_nothing_is_said_the_machine_and_other_containers_are_served() {
    let (config, warnings) = container(&[]).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.log_dirs, [PathBuf::from("/var/lib/kafka/data")]);
    assert_eq!(config.cluster_id.as_deref(), Some("4L6g3nShT-eMCtK--X86sw"));
    assert!(config.listeners.iter().all(|one| one.address.ip().is_unspecified()));
    let expected = [listener("PLAINTEXT", 9092, "localhost:9092"), listener("INTERNAL", 19092, "")];
    assert_eq!(bound(config), expected);
}

#[test]
fn what_is_said_stays() {
    let values = [("KAFKA_LOG_DIR", "/tmp/logs"), ("KAFKA_CLUSTER_ID", "mine"), ("KAFKA_NUM_PARTITIONS", "3")];
    let (config, _) = container(&values).unwrap();
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/logs")]);
    assert_eq!((config.cluster_id.as_deref(), config.topics.partitions), (Some("mine"), 3));
    assert_eq!(config.listeners.len(), 2);
}

#[test]
fn listeners_are_derived_from_the_advertised_ones_as_in_kafkas_images() {
    let map = ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT");
    let advertised = "PLAINTEXT://broker:29092, PLAINTEXT_HOST://localhost:9092";
    let (config, _) = container(&[map, ("KAFKA_ADVERTISED_LISTENERS", advertised)]).unwrap();
    assert!(config.listeners.iter().all(|one| one.address.ip().is_unspecified()));
    let expected = [listener("PLAINTEXT", 29092, "broker:29092"), listener("PLAINTEXT_HOST", 9092, "localhost:9092")];
    assert_eq!(bound(config), expected);
}

#[test]
fn a_variable_that_is_set_to_nothing_says_nothing() {
    let (config, _) = container(&[("KAFKA_LISTENERS", ""), ("KAFKA_ADVERTISED_LISTENERS", " ")]).unwrap();
    assert_eq!(config.listeners.len(), 2);
}

#[test]
fn a_protocol_map_alone_leaves_the_one_listener_that_it_must_have() {
    let (config, _) = container(&[("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT")]).unwrap();
    assert_eq!(bound(config), [listener("PLAINTEXT", 9092, "localhost:9092")]);
}

#[test]
fn an_advertised_listener_that_is_none_is_refused_as_it_was_written() {
    let error = container(&[("KAFKA_ADVERTISED_LISTENERS", "localhost:9092")]).unwrap_err();
    let expected = "advertised.listeners: 'localhost:9092': not NAME://HOST:PORT, an IPv6 address in brackets";
    assert_eq!(error, expected);
}

#[test]
fn a_listener_that_is_set_needs_an_address_for_its_clients() {
    let set = "set what its clients connect to, as PLAINTEXT://localhost:9092 for a mapped port, \
               PLAINTEXT://<service>:9092 for other containers";
    let needed = |entry: &str| format!("listeners: '{entry}': advertised.listeners has no address for it: {set}");
    let error = container(&[("KAFKA_LISTENERS", "PLAINTEXT://0.0.0.0:9092")]).unwrap_err();
    assert_eq!(error, needed("PLAINTEXT://0.0.0.0:9092"));

    let map = ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "OUTSIDE:PLAINTEXT,PLAINTEXT:PLAINTEXT");
    let listeners = ("KAFKA_LISTENERS", "OUTSIDE://:29092,PLAINTEXT://:9092");
    let advertised = ("KAFKA_ADVERTISED_LISTENERS", "OUTSIDE://localhost:29092");
    assert_eq!(container(&[map, listeners, advertised]).unwrap_err(), needed("PLAINTEXT://:9092"));
}

#[test]
fn what_kafka_would_advertise_by_itself_starts() {
    let (config, warnings) = container(&[("KAFKA_LISTENERS", "PLAINTEXT://localhost:9092")]).unwrap();
    assert_eq!((bound(config), warnings.len()), (vec![listener("PLAINTEXT", 9092, "")], 0));

    let (config, warnings) = container(&[("KAFKA_LISTENERS", "PLAINTEXT://:9092")]).unwrap();
    assert_eq!(bound(config), [listener("PLAINTEXT", 9092, "")]);
    let said = "listeners: PLAINTEXT://:9092: clients are told the container's own address; advertised.listeners tells them \
                another, as PLAINTEXT://localhost:9092 for a mapped port, PLAINTEXT://<service>:9092 for other containers";
    assert_eq!(warnings, [said]);
}

#[test]
fn what_is_a_controllers_and_what_is_zookeepers_is_said_in_one_line() {
    let (config, warnings) = container(&[
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@broker:29093"),
        ("KAFKA_ZOOKEEPER_CONNECT", "localhost:2181"),
        ("KAFKA_LISTENERS", "CONTROLLER://:29093,PLAINTEXT://:9092"),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
        ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://localhost:9092"),
    ])
    .unwrap();
    assert_eq!(bound(config), [listener("PLAINTEXT", 9092, "localhost:9092")]);
    let text = "left out, for no controller quorum is needed: CONTROLLER://:29093, controller.quorum.voters, zookeeper.connect";
    assert_eq!(warnings, [text]);
}

#[test]
fn the_health_of_a_broker_is_asked_for_where_it_listens_whatever_it_advertises() {
    let mut raw = RawConfig::default();
    let listeners = ("KAFKA_LISTENERS", "CONTROLLER://:9094,PLAINTEXT://0.0.0.0:9093");
    let incomplete = ("KAFKA_ADVERTISED_LISTENERS", "BROKER://localhost:9092");
    raw.environment(env(&[listeners, incomplete, ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER")])).unwrap();
    raw.fill_in_for_container(None);
    assert_eq!(
        raw.addresses().unwrap().into_iter().map(reachable).collect::<Vec<_>>(),
        [([127, 0, 0, 1], 9093).into()]
    );
}
