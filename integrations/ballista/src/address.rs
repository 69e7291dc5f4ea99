//! `HOST:PORT`.

use std::fmt;

use ballista_core::error::{BallistaError, Result};

/// Where a scheduler listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// A name or an address; of IPv6 with its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads `HOST:PORT`, or that with `df://` before it, as Ballista's own examples have it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bare = text.strip_prefix("df://").unwrap_or(text).trim_end_matches('/');
        let parts = bare.rsplit_once(':').and_then(|(host, port)| Some((host.to_string(), port.parse().ok()?)));
        let (host, port) = parts.filter(|(host, _)| !host.is_empty() && !host.contains('/')).ok_or_else(|| {
            BallistaError::Configuration(format!("the scheduler must be given as HOST:PORT, but was {text:?}"))
        })?;
        Ok(Address { host, port })
    }

    /// The host as the system's resolver takes it.
    pub(crate) fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        let parsed = |text| Address::parse(text).map(|a| (a.name().to_string(), a.port, a.to_string())).unwrap();
        let expected = ("localhost".to_string(), 50_050, "localhost:50050".to_string());
        assert_eq!(parsed("localhost:50050"), expected);
        assert_eq!(parsed("df://localhost:50050/"), expected);
        assert_eq!(parsed("[::1]:1"), ("::1".to_string(), 1, "[::1]:1".to_string()));
        for wrong in ["localhost", "localhost:", ":50050", "localhost:70000", "http://localhost:1", ""] {
            let message = Address::parse(wrong).unwrap_err().to_string();
            assert!(message.contains(&format!("{wrong:?}")), "{message}");
        }
    }
}
