use super::*;

type Bound = (String, String, Option<(String, u16)>);

fn bound(properties: &str) -> Vec<Bound> {
    let listeners = config(properties).listeners;
    listeners.into_iter().map(|one| (one.name, one.address.to_string(), one.advertised)).collect()
}

fn plain(name: &str, address: &str) -> Bound {
    (name.to_owned(), address.to_owned(), None)
}

#[test]
fn without_configuration_the_loopback_address_is_bound_and_nothing_advertised() {
    assert_eq!(bound(""), [plain("PLAINTEXT", "127.0.0.1:9092")]);
}

#[test]
fn several_listeners_have_names_and_protocols_of_their_own() {
    let properties = "listeners=internal://127.0.0.1:9092, EXTERNAL://[::1]:9092\n\
                      listener.security.protocol.map=INTERNAL:PLAINTEXT,external:PLAINTEXT,OTHER:SSL\n\
                      advertised.listeners=EXTERNAL://kafka.example.org:443";
    let mut external = plain("EXTERNAL", "[::1]:9092");
    external.2 = Some(("kafka.example.org".to_owned(), 443));
    assert_eq!(bound(properties), [plain("INTERNAL", "127.0.0.1:9092"), external]);
}

#[test]
fn an_empty_host_binds_every_address_and_a_name_is_resolved() {
    let listeners = config("listeners=PLAINTEXT://:9092").listeners;
    assert!(listeners[0].address.ip().is_unspecified());
    assert!(config("listeners=PLAINTEXT://localhost:9092").listeners[0].address.ip().is_loopback());
    let error = error("listeners=PLAINTEXT://no-such-host.invalid:9092");
    assert!(
        error.starts_with("listeners: 'PLAINTEXT://no-such-host.invalid:9092': cannot resolve the host: "),
        "{error}"
    );
}

#[test]
fn a_listener_that_cannot_be_served_is_refused_by_name() {
    let protocols = "(PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)";
    let malformed = "not NAME://HOST:PORT, an IPv6 address in brackets";
    for (entry, text) in [
        ("PLAINTXT://:9092", &*format!("unknown security protocol {protocols}")),
        ("SSL://:9093", "security protocol SSL is not served yet, only PLAINTEXT"),
        ("SASL_SSL://:9093", "security protocol SASL_SSL is not served yet, only PLAINTEXT"),
        ("PLAINTEXT://:65536", "the port is not a number from 0 to 65535"),
        ("PLAINTEXT://:-1", "the port is not a number from 0 to 65535"),
        ("PLAINTEXT://host", malformed),
        ("localhost:9092", malformed),
        ("://:9092", malformed),
        ("PLAINTEXT://::1:9092", malformed),
        ("PLAINTEXT://[host]:9092", malformed),
        ("PLAINTEXT://a/b:9092", malformed),
    ] {
        assert_eq!(error(&format!("listeners={entry}")), format!("listeners: '{entry}': {text}"));
    }
}

#[test]
fn a_listener_must_be_in_a_protocol_map_that_is_given() {
    let listeners = "listeners=INTERNAL://:9092\nlistener.security.protocol.map=";
    let text = "no security protocol for INTERNAL in listener.security.protocol.map";
    assert_eq!(error(&format!("{listeners}PLAINTEXT:PLAINTEXT")), format!("listeners: 'INTERNAL://:9092': {text}"));
    let unknown = "unknown security protocol (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)";
    assert_eq!(
        error(&format!("{listeners}INTERNAL:TLS")),
        format!("listener.security.protocol.map: 'INTERNAL:TLS': {unknown}")
    );
    let text = "listener.security.protocol.map: 'INTERNAL': not LISTENER_NAME:PROTOCOL";
    assert_eq!(error(&format!("{listeners}INTERNAL")), text);
}

#[test]
fn names_and_ports_are_not_shared() {
    let name = "each listener must have a different name";
    assert_eq!(error("listeners=PLAINTEXT://:1,plaintext://:2"), format!("listeners: 'plaintext://:2': {name}"));
    let port = "each listener must have a different port, unless one is an IPv4 and the other an IPv6 address";
    for other in [":1", "host:1", "127.0.0.2:1"] {
        let properties =
            format!("listeners=A://127.0.0.1:1,B://{other}\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT");
        assert_eq!(error(&properties), format!("listeners: 'B://{other}': {port}"));
    }
    let properties =
        "listeners=A://127.0.0.1:0,B://127.0.0.1:0\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT";
    assert_eq!(config(properties).listeners.len(), 2);
}

#[test]
fn what_is_advertised_must_be_a_listener_that_clients_can_reach() {
    let meta = |address| format!("cannot use the nonroutable meta-address {address}. Use a routable IP address.");
    let needed = "clients need a host and a port; left out, they are told the address at which they came";
    for (entry, text) in [
        ("PLAINTEXT://0.0.0.0:9092", &*meta("0.0.0.0")),
        ("PLAINTEXT://[::]:9092", &*meta("::")),
        ("PLAINTEXT://:9092", needed),
        ("PLAINTEXT://host:0", needed),
        ("EXTERNAL://host:1", "names none of the listeners (PLAINTEXT)"),
        ("host:9092", "not NAME://HOST:PORT, an IPv6 address in brackets"),
    ] {
        assert_eq!(error(&format!("advertised.listeners={entry}")), format!("advertised.listeners: '{entry}': {text}"));
    }
    let twice = error("advertised.listeners=PLAINTEXT://a:1,PLAINTEXT://b:2");
    assert_eq!(twice, "advertised.listeners: 'PLAINTEXT://b:2': each listener must have a different name");
    let six = config("advertised.listeners=PLAINTEXT://[2001:db8::1]:9092");
    assert_eq!(six.listeners[0].advertised, Some(("2001:db8::1".to_owned(), 9092)));
}

#[test]
fn a_controllers_listener_is_left_out_with_one_line_said() {
    let properties = "process.roles=broker,controller\ncontroller.listener.names=CONTROLLER\n\
                      listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://:9093\n\
                      advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093";
    let (config, warnings) = load(properties).unwrap();
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].advertised, Some(("localhost".to_owned(), 9092)));
    let text = "left out, for no controller quorum is needed: CONTROLLER://:9093";
    assert_eq!(warnings, [text]);
    assert_eq!(
        error("listeners=CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER"),
        "listeners: 'CONTROLLER://:9093': there must be at least one listener that is not in controller.listener.names"
    );
}

#[test]
fn the_listener_between_brokers_must_exist() {
    assert!(load("inter.broker.listener.name=plaintext").is_ok());
    let text = "inter.broker.listener.name: 'INTERNAL': names none of the listeners (PLAINTEXT)";
    assert_eq!(error("inter.broker.listener.name=INTERNAL"), text);
}
