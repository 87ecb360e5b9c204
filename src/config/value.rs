//! Types of values: how each is written, and what to say if it is not.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use super::{section::nearest, tree::Node};

/// A type that a setting can have.
pub(super) trait FromNode: Sized {
    /// Reads the value; the error says what was found and what is allowed.
    fn from_node(node: &Node) -> Result<Self, String>;
}

impl FromNode for bool {
    fn from_node(node: &Node) -> Result<Self, String> {
        match node {
            Node::Boolean(value) => Ok(*value),
            other => Err(format!("expected true or false, found {other}")),
        }
    }
}

impl FromNode for String {
    fn from_node(node: &Node) -> Result<Self, String> {
        match node {
            Node::Text(text) if text.is_empty() => Err("must not be empty".into()),
            Node::Text(text) if text.chars().any(char::is_control) => {
                Err(format!("must not hold control characters, found {text:?}"))
            }
            Node::Text(text) => Ok(text.clone()),
            other => Err(format!("expected a string, found {other}")),
        }
    }
}

impl FromNode for PathBuf {
    fn from_node(node: &Node) -> Result<Self, String> {
        let path = Self::from(String::from_node(node)?);
        if path.is_absolute() {
            Ok(path)
        } else {
            Err(format!("expected an absolute path, found {path:?}"))
        }
    }
}

impl FromNode for u32 {
    fn from_node(node: &Node) -> Result<Self, String> {
        match node {
            Node::Integer(number) => Self::try_from(*number)
                .map_err(|_| format!("expected a number from 0 to {}, found {number}", Self::MAX)),
            other => Err(format!("expected a number, found {other}")),
        }
    }
}

impl FromNode for u16 {
    fn from_node(node: &Node) -> Result<Self, String> {
        let number = u32::from_node(node)?;
        let most = Self::MAX;
        Self::try_from(number)
            .map_err(|_| format!("expected a number from 0 to {most}, found {number}"))
    }
}

impl FromNode for NonZeroUsize {
    /// A number or a limit: 0 never means "none" or "unlimited".
    fn from_node(node: &Node) -> Result<Self, String> {
        match node {
            Node::Integer(number) => usize::try_from(*number)
                .ok()
                .and_then(Self::new)
                .ok_or_else(|| format!("expected a number greater than 0, found {number}")),
            other => Err(format!("expected a number, found {other}")),
        }
    }
}

impl FromNode for NonZeroU32 {
    fn from_node(node: &Node) -> Result<Self, String> {
        let number = u32::from_node(node)?;
        Self::new(number).ok_or_else(|| "expected a number greater than 0, found 0".into())
    }
}

/// A number of bytes greater than 0, written as a number or as `"64 KiB"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Bytes(pub(super) NonZeroUsize);

impl FromNode for Bytes {
    fn from_node(node: &Node) -> Result<Self, String> {
        let Node::Text(text) = node else { return NonZeroUsize::from_node(node).map(Self) };
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor = match unit.trim() {
            "" | "B" => Some(1_usize),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        number
            .parse::<usize>()
            .ok()
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor))
            .and_then(NonZeroUsize::new)
            .map(Self)
            .ok_or_else(|| format!("expected a size like \"64 KiB\" or \"16 MiB\", found {text:?}"))
    }
}

impl FromNode for Duration {
    fn from_node(node: &Node) -> Result<Self, String> {
        match node {
            Node::Text(text) => parse_duration(text).ok_or_else(|| {
                format!(
                    "expected a duration like \"250ms\", \"10s\", \"5m\", \"1h30m\" or \"7d\", \
                     found {text:?}"
                )
            }),
            Node::Integer(number) => {
                Err(format!("expected a duration with its unit: write \"{number}s\""))
            }
            other => Err(format!("expected a duration like \"10s\", found {other}")),
        }
    }
}

/// Reads `1h30m`: numbers with units, largest first.
fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut rest = text.trim();
    let mut allowed = &UNITS[..];
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let index = allowed.iter().position(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(allowed[index].1)?)?;
        allowed = &allowed[index + 1..];
        rest = tail.trim_start();
    }
    Some(Duration::from_millis(total))
}

/// One value or a list of them.
#[derive(Clone, Debug)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<T: FromNode> FromNode for OneOrMany<T> {
    fn from_node(node: &Node) -> Result<Self, String> {
        match node {
            Node::Array(items) => items
                .iter()
                .map(|item| T::from_node(&item.node))
                .collect::<Result<_, _>>()
                .map(Self),
            single => T::from_node(single).map(|value| Self(vec![value])),
        }
    }
}

/// Addresses to bind: `ADDRESS:PORT`; `localhost` stands for both loopback addresses.
#[derive(Clone, Debug)]
pub(super) struct Addresses(pub(super) Vec<SocketAddr>);

impl FromNode for Addresses {
    fn from_node(node: &Node) -> Result<Self, String> {
        let text = String::from_node(node)?;
        parse_addresses(&text).map(Self)
    }
}

/// Reads `ADDRESS:PORT`.
pub(super) fn parse_addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    let both = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok());
    if let Some(port) = both {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        return Ok(loopback.map(|address| SocketAddr::new(address, port)).to_vec());
    }
    Err(format!(
        "expected an address with a port like \"127.0.0.1:5988\", \"[::]:5989\" or \
         \"localhost:5988\", found {text:?}"
    ))
}

/// A choice among words.
pub(super) trait Choice: Copy + 'static {
    /// The words and what each means.
    const WORDS: &'static [(&'static str, Self)];
}

impl<T: Choice> FromNode for T {
    fn from_node(node: &Node) -> Result<Self, String> {
        let text = String::from_node(node)?;
        let found = T::WORDS.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        found.ok_or_else(|| {
            let words: Vec<String> = T::WORDS.iter().map(|(word, _)| format!("{word:?}")).collect();
            let hint = nearest(&text, T::WORDS.iter().map(|(word, _)| *word))
                .map(|word| format!("; did you mean {word:?}?"))
                .unwrap_or_default();
            format!("expected {}, found {text:?}{hint}", words.join(" or "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn duration(text: &str, milliseconds: Option<u64>) {
        assert_eq!(parse_duration(text), milliseconds.map(Duration::from_millis), "{text:?}");
    }

    #[test]
    fn durations() {
        duration("10s", Some(10_000));
        duration("250ms", Some(250));
        duration("1h30m", Some(5_400_000));
        duration("7d", Some(604_800_000));
        duration("1m 5s", Some(65_000));
        duration("0s", Some(0));
        for wrong in
            ["", "10", "s", "10 s", "-1s", "1.5s", "1s1h", "1s1s", "10sec", "99999999999999999999s"]
        {
            duration(wrong, None);
        }
        duration("999999999999999999d", None);
    }

    #[test]
    fn sizes() {
        let size = |node: Node| Bytes::from_node(&node).map(|bytes| bytes.0.get());
        assert_eq!(size(Node::Integer(5)), Ok(5));
        assert_eq!(size(Node::Text("64 KiB".into())), Ok(65_536));
        assert_eq!(size(Node::Text("16MiB".into())), Ok(16 << 20));
        for wrong in ["0", "", "KiB", "-1", "1 KB", "1.5 KiB", "99999999999999 GiB"] {
            assert!(size(Node::Text(wrong.into())).is_err(), "{wrong:?}");
        }
        assert!(size(Node::Integer(0)).is_err());
    }

    #[test]
    fn addresses() {
        let count = |text: &str| parse_addresses(text).map(|addresses| addresses.len()).ok();
        assert_eq!(count("127.0.0.1:5988"), Some(1));
        assert_eq!(count("[::]:0"), Some(1));
        assert_eq!(count("localhost:5988"), Some(2));
        for wrong in ["", "127.0.0.1", ":5988", "host:5988", "::1:5988", "127.0.0.1:99999"] {
            assert_eq!(count(wrong), None, "{wrong:?}");
        }
    }
}
