//! One key: its type, default and range, and how a value is read and checked against them, with the texts of
//! `org.apache.kafka.common.config.ConfigDef`.

use std::fmt::Display;

use super::{InvalidConfig, Kind};

#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Option<&'static str>,
    pub(super) read_only: bool,
    /// Whether this broker goes by the key; of the others it says so once they are set.
    pub(super) acts: bool,
    valid: Valid,
}

/// `ConfigDef.Validator`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Valid {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    OneOf(&'static [&'static str]),
    ListOf(&'static [&'static str]),
    /// `ValidList.anyNonDuplicateValues(false, …)`: not empty.
    Distinct,
    /// `CompressionType.GZIP.levelValidator`.
    GzipLevel,
    /// `ThrottledReplicaListValidator`.
    ThrottledReplicas,
}

pub(super) const CODECS: Valid = Valid::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
pub(super) const TIMESTAMP_TYPES: Valid = Valid::OneOf(&["CreateTime", "LogAppendTime"]);
pub(super) const CLEANUP_POLICIES: Valid = Valid::ListOf(&["compact", "delete"]);

pub(super) const fn fixed(name: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    Key { name, kind, default, read_only: true, acts: false, valid: Valid::Any }
}

pub(super) const fn dynamic(name: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    Key { name, kind, default, read_only: false, acts: false, valid: Valid::Any }
}

impl Key {
    pub(super) const fn valid(mut self, valid: Valid) -> Key {
        self.valid = valid;
        self
    }

    pub(super) const fn acts(mut self) -> Key {
        self.acts = true;
        self
    }

    pub(super) fn sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// The value in the form that it is described in, if it has the key's type and lies in its range.
    pub(super) fn check(&self, value: &str) -> Result<String, InvalidConfig> {
        // String.trim of Java: everything up to the space, and nothing of Unicode's.
        let value = value.trim_matches(|c| c <= ' ');
        match self.kind {
            Kind::Boolean => self.boolean(value),
            Kind::Int => self.integer::<i32>(value, "INT"),
            Kind::Short => self.integer::<i16>(value, "SHORT"),
            Kind::Long => self.integer::<i64>(value, "LONG"),
            Kind::Double => self.double(value),
            Kind::List => self.list(value),
            Kind::String | Kind::Class | Kind::Password => self.string(value),
        }
    }

    fn boolean(&self, value: &str) -> Result<String, InvalidConfig> {
        let lower = value.to_ascii_lowercase();
        match lower.as_str() {
            "true" | "false" => Ok(lower),
            _ => Err(self.invalid(value, "Expected value to be either true or false")),
        }
    }

    fn integer<N: std::str::FromStr + Into<i64>>(&self, value: &str, kind: &str) -> Result<String, InvalidConfig> {
        let number =
            value.parse::<N>().map_err(|_| self.invalid(value, format_args!("Not a number of type {kind}")))?;
        let number: i64 = number.into();
        self.check_range(number, |bound| bound)?;
        Ok(number.to_string())
    }

    fn double(&self, value: &str) -> Result<String, InvalidConfig> {
        match value.parse::<f64>() {
            Ok(number) if number.is_finite() => self.check_range(number, |bound| bound as f64)?,
            _ => return Err(self.invalid(value, "Not a number of type DOUBLE")),
        }
        Ok(value.to_owned())
    }

    fn check_range<N: PartialOrd + Display + Copy>(&self, number: N, bound: fn(i64) -> N) -> Result<(), InvalidConfig> {
        match self.valid {
            Valid::AtLeast(min) | Valid::Between(min, _) if number < bound(min) => {
                Err(self.invalid(number, format_args!("Value must be at least {min}")))
            }
            Valid::Between(_, max) if number > bound(max) => {
                Err(self.invalid(number, format_args!("Value must be no more than {max}")))
            }
            Valid::GzipLevel if number != bound(-1) && (number < bound(1) || number > bound(9)) => {
                Err(self.invalid(number, "Value must be between 1 and 9 or equal to -1"))
            }
            _ => Ok(()),
        }
    }

    fn string(&self, value: &str) -> Result<String, InvalidConfig> {
        if let Valid::OneOf(allowed) = self.valid {
            self.check_one_of(value, allowed)?;
        }
        Ok(value.to_owned())
    }

    fn check_one_of(&self, value: &str, allowed: &[&str]) -> Result<(), InvalidConfig> {
        if allowed.contains(&value) {
            return Ok(());
        }
        Err(self.invalid(value, format_args!("String must be one of: {}", allowed.join(", "))))
    }

    fn list(&self, value: &str) -> Result<String, InvalidConfig> {
        let elements = split_list(value);
        let elements = match self.valid {
            Valid::ListOf(_) | Valid::Distinct if elements.contains(&"") => {
                return Err(self.invalid_list("values must not be empty."));
            }
            Valid::ListOf(allowed) => {
                elements.iter().try_for_each(|element| self.check_one_of(element, allowed))?;
                distinct(elements)
            }
            Valid::Distinct if elements.is_empty() => {
                return Err(self.invalid_list("must not be empty. Valid values include: any non-empty value"));
            }
            Valid::Distinct => distinct(elements),
            Valid::ThrottledReplicas => {
                self.check_throttled_replicas(&elements)?;
                elements
            }
            _ => elements,
        };
        Ok(elements.join(","))
    }

    fn invalid_list(&self, text: &str) -> InvalidConfig {
        InvalidConfig(format!("Configuration '{}' {text}", self.name))
    }

    fn check_throttled_replicas(&self, elements: &[&str]) -> Result<(), InvalidConfig> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_replica = |element: &&str| match element.split_once(':') {
            Some((partition, broker)) => is_number(partition) && is_number(broker),
            None => element.is_empty(),
        };
        if elements.iter().all(is_replica) || elements.concat() == "*" {
            return Ok(());
        }
        let allowed = format!(
            "{} must be the literal '*' or a list of replicas in the following format: \
             [partitionId]:[brokerId],[partitionId]:[brokerId],...",
            self.name
        );
        Err(self.invalid(format_args!("[{}]", elements.join(", ")), allowed))
    }

    fn invalid(&self, value: impl Display, allowed: impl Display) -> InvalidConfig {
        InvalidConfig(format!("Invalid value {value} for configuration {}: {allowed}", self.name))
    }
}

/// The elements of a list value; none of an empty one.
pub(super) fn split_list(value: &str) -> Vec<&str> {
    match value.is_empty() {
        true => Vec::new(),
        false => value.split(',').map(|element| element.trim_matches(|c: char| c.is_ascii_whitespace())).collect(),
    }
}

/// Kafka drops the duplicates of a `ValidList` (`ConfigDef.parseValue`).
fn distinct(elements: Vec<&str>) -> Vec<&str> {
    let mut distinct = Vec::with_capacity(elements.len());
    for element in elements {
        if !distinct.contains(&element) {
            distinct.push(element);
        }
    }
    distinct
}
