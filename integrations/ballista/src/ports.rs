//! Free ports.

use std::net::{IpAddr, TcpListener};

/// Returns the port, or a free one if it is 0: the executor tells the scheduler its ports before it opens them, so it
/// cannot leave the choice to the system. Another program may take the port in between; then the executor fails at once.
pub(crate) fn or_free(port: u16, host: IpAddr) -> std::io::Result<u16> {
    if port != 0 {
        return Ok(port);
    }
    Ok(TcpListener::bind((host, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_given_port_stays_and_zero_becomes_a_free_one() {
        let host = [127, 0, 0, 1].into();
        assert_eq!(super::or_free(50_051, host).unwrap(), 50_051);
        let free = super::or_free(0, host).unwrap();
        std::net::TcpListener::bind((host, free)).unwrap();
    }
}
