//! `listeners`, `advertised.listeners`, `listener.security.protocol.map` (`SocketServerConfigs`, `AbstractKafkaConfig`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use super::values::BrokerValues;
use super::{InvalidConfig, Listener};

pub(super) const LISTENERS: &str = "listeners";
pub(super) const ADVERTISED_LISTENERS: &str = "advertised.listeners";
pub(super) const PROTOCOL_MAP: &str = "listener.security.protocol.map";

const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
const UNKNOWN_PROTOCOL: &str = "unknown security protocol (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)";

/// `NAME://HOST:PORT`, with `entry` as it was written.
struct Endpoint<'a> {
    entry: &'a str,
    name: String,
    host: &'a str,
    port: u16,
}

impl<'a> Endpoint<'a> {
    fn parse(key: &str, entry: &'a str) -> Result<Endpoint<'a>, InvalidConfig> {
        let malformed = || refuse(key, entry, "not NAME://HOST:PORT, an IPv6 address in brackets");
        let (name, address) = entry.split_once("://").ok_or_else(malformed)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse().map_err(|_| refuse(key, entry, "the port is not a number from 0 to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._%".contains(c);
        let well_formed = match bracketed {
            Some(host) => host.parse::<Ipv6Addr>().is_ok(),
            None => host.chars().all(is_host),
        };
        if name.is_empty() || !well_formed {
            return Err(malformed());
        }
        Ok(Endpoint { entry, name: name.to_uppercase(), host: bracketed.unwrap_or(host), port })
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether both may be bound: one port serves two listeners only where one is IPv4 and the other IPv6.
    fn is_apart_from(&self, other: &Endpoint<'_>) -> bool {
        let one_of_each = |a: IpAddr, b: IpAddr| a.is_ipv4() != b.is_ipv4();
        self.port == 0 || self.port != other.port || self.ip().zip(other.ip()).is_some_and(|(a, b)| one_of_each(a, b))
    }

    fn resolve(&self) -> Result<SocketAddr, InvalidConfig> {
        if self.host.is_empty() {
            return Ok(SocketAddr::new(unspecified(), self.port));
        }
        let addresses = (self.host, self.port).to_socket_addrs();
        let addresses =
            addresses.map_err(|error| refuse(LISTENERS, self.entry, &format!("cannot resolve the host: {error}")))?;
        let preferred = addresses.min_by_key(SocketAddr::is_ipv6);
        preferred.ok_or_else(|| refuse(LISTENERS, self.entry, "the host has no address"))
    }
}

/// What there is to bind, and what there is to say of it.
pub(super) struct Loaded<'a> {
    pub(super) listeners: Vec<Listener>,
    /// A controller's entries of `listeners`, which are left out.
    pub(super) left_out: Vec<&'a str>,
    pub(super) warnings: Vec<String>,
}

/// The listeners to bind. `all_must_be_advertised`: docs/docker.md.
pub(super) fn load(values: &BrokerValues, all_must_be_advertised: bool) -> Result<Loaded<'_>, InvalidConfig> {
    let controllers = controllers(values);
    let (served, left_out) = served(values, &controllers)?;
    let mut advertised = advertised(values, &served, &controllers)?;
    let mut loaded = Loaded { listeners: Vec::new(), left_out, warnings: Vec::new() };
    for endpoint in served {
        let advertised = advertised.remove(&endpoint.name);
        if all_must_be_advertised && advertised.is_none() {
            loaded.warnings.extend(check_unadvertised(&endpoint, values)?);
        }
        loaded.listeners.push(Listener { address: endpoint.resolve()?, name: endpoint.name, advertised });
    }
    Ok(loaded)
}

/// Where the listeners will be, whatever they are advertised as.
pub(super) fn addresses(values: &BrokerValues) -> Result<Vec<SocketAddr>, InvalidConfig> {
    let (served, _) = served(values, &controllers(values))?;
    served.iter().map(Endpoint::resolve).collect()
}

/// An address to connect to where `listening` is all of them.
pub fn reachable(mut listening: SocketAddr) -> SocketAddr {
    if listening.ip().is_unspecified() {
        // A socket of all IPv6 addresses takes IPv4 too, and a container need not have the other.
        listening.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    listening
}

fn controllers(values: &BrokerValues) -> Vec<String> {
    values.list("controller.listener.names").iter().map(|name| name.to_uppercase()).collect()
}

/// The listeners of a broker, each with a security protocol that is served, and the entries of those left out.
fn served<'a>(
    values: &'a BrokerValues,
    controllers: &[String],
) -> Result<(Vec<Endpoint<'a>>, Vec<&'a str>), InvalidConfig> {
    let protocols = protocol_map(values)?;
    let endpoints = endpoints(values, LISTENERS)?;
    check_distinct(&endpoints)?;
    let (left_out, served): (Vec<_>, Vec<_>) =
        endpoints.into_iter().partition(|endpoint| controllers.contains(&endpoint.name));
    if served.is_empty() {
        let text = "there must be at least one listener that is not in controller.listener.names";
        return Err(refuse(LISTENERS, values.text(LISTENERS).unwrap_or_default(), text));
    }
    for endpoint in &served {
        check_protocol(endpoint, &protocols, values.is_said(PROTOCOL_MAP))?;
    }
    Ok((served, left_out.iter().map(|endpoint| endpoint.entry).collect()))
}

/// In a container the address at which a client came is the container's, which need not be the client's to reach. Kafka
/// would advertise the host of `listeners`, and refuses 0.0.0.0; of an empty one it takes the container's own name.
fn check_unadvertised(endpoint: &Endpoint<'_>, values: &BrokerValues) -> Result<Option<String>, InvalidConfig> {
    let Endpoint { entry, name, port, .. } = endpoint;
    let examples =
        format!("{name}://localhost:{port} for a mapped port, {name}://<service>:{port} for other containers");
    if values.is_said(ADVERTISED_LISTENERS) || endpoint.ip().is_some_and(|ip| ip.is_unspecified()) {
        let text =
            format!("{ADVERTISED_LISTENERS} has no address for it: set what its clients connect to, as {examples}");
        return Err(refuse(LISTENERS, entry, &text));
    }
    let text = format!(
        "{LISTENERS}: {entry}: clients are told the container's own address; {ADVERTISED_LISTENERS} tells them another, as \
         {examples}"
    );
    Ok(endpoint.host.is_empty().then_some(text))
}

fn endpoints<'a>(values: &'a BrokerValues, key: &str) -> Result<Vec<Endpoint<'a>>, InvalidConfig> {
    values.list(key).into_iter().map(|entry| Endpoint::parse(key, entry)).collect()
}

fn check_distinct(endpoints: &[Endpoint<'_>]) -> Result<(), InvalidConfig> {
    for (index, endpoint) in endpoints.iter().enumerate() {
        let mut earlier = endpoints.iter().take(index);
        if earlier.clone().any(|other| other.name == endpoint.name) {
            return Err(refuse(LISTENERS, endpoint.entry, "each listener must have a different name"));
        }
        if !earlier.all(|other| endpoint.is_apart_from(other)) {
            let text = "each listener must have a different port, unless one is an IPv4 and the other an IPv6 address";
            return Err(refuse(LISTENERS, endpoint.entry, text));
        }
    }
    Ok(())
}

/// `listener.security.protocol.map`: upper-case name to protocol.
fn protocol_map(values: &BrokerValues) -> Result<HashMap<String, &str>, InvalidConfig> {
    let mut protocols = HashMap::new();
    for entry in values.list(PROTOCOL_MAP) {
        let (name, protocol) =
            entry.rsplit_once(':').ok_or_else(|| refuse(PROTOCOL_MAP, entry, "not LISTENER_NAME:PROTOCOL"))?;
        if !PROTOCOLS.contains(&protocol.trim()) {
            return Err(refuse(PROTOCOL_MAP, entry, UNKNOWN_PROTOCOL));
        }
        protocols.insert(name.trim().to_uppercase(), protocol.trim());
    }
    Ok(protocols)
}

fn check_protocol(
    endpoint: &Endpoint<'_>,
    protocols: &HashMap<String, &str>,
    has_map: bool,
) -> Result<(), InvalidConfig> {
    match protocols.get(&endpoint.name) {
        Some(&"PLAINTEXT") => Ok(()),
        Some(protocol) => {
            let text = format!("security protocol {protocol} is not served yet, only PLAINTEXT");
            Err(refuse(LISTENERS, endpoint.entry, &text))
        }
        None if has_map => {
            let text = format!("no security protocol for {} in {PROTOCOL_MAP}", endpoint.name);
            Err(refuse(LISTENERS, endpoint.entry, &text))
        }
        None => Err(refuse(LISTENERS, endpoint.entry, UNKNOWN_PROTOCOL)),
    }
}

/// `advertised.listeners` by name; a listener that is not there tells clients the address at which they reached it.
fn advertised(
    values: &BrokerValues,
    served: &[Endpoint<'_>],
    controllers: &[String],
) -> Result<HashMap<String, (String, u16)>, InvalidConfig> {
    let mut advertised = HashMap::new();
    for endpoint in endpoints(values, ADVERTISED_LISTENERS)? {
        if controllers.contains(&endpoint.name) {
            continue;
        }
        let refuse = |text: &str| Err(refuse(ADVERTISED_LISTENERS, endpoint.entry, text));
        if !served.iter().any(|listener| listener.name == endpoint.name) {
            let names: Vec<_> = served.iter().map(|listener| listener.name.as_str()).collect();
            return refuse(&format!("names none of the listeners ({})", names.join(", ")));
        }
        if endpoint.ip().is_some_and(|ip| ip.is_unspecified()) {
            let text = format!("cannot use the nonroutable meta-address {}. Use a routable IP address.", endpoint.host);
            return refuse(&text);
        }
        if endpoint.host.is_empty() || endpoint.port == 0 {
            return refuse("clients need a host and a port; left out, they are told the address at which they came");
        }
        let address = (endpoint.host.to_owned(), endpoint.port);
        if advertised.insert(endpoint.name, address).is_some() {
            return Err(self::refuse(ADVERTISED_LISTENERS, endpoint.entry, "each listener must have a different name"));
        }
    }
    Ok(advertised)
}

/// All addresses: of both families where the machine speaks IPv6, as in Java.
fn unspecified() -> IpAddr {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

fn refuse(key: &str, entry: &str, text: &str) -> InvalidConfig {
    InvalidConfig(format!("{key}: '{entry}': {text}"))
}
