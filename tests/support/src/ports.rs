//! Ports on loopback that stay ours while a server of ours is down, so that it can be started again on them.

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Failure;

/// Below the range that the kernel takes for outgoing connections, which would be free now and taken later.
const FIRST: u32 = 21_000;
const COUNT: u32 = 9_000;

/// A port, held against other planes by a lock on a file; the lock goes with the process.
pub(crate) struct Port {
    pub number: u16,
    _lock: File,
}

/// A port that nobody listens on and no other plane holds.
pub(crate) fn lease() -> Result<Port, Failure> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let user = rustix::process::getuid().as_raw();
    // Not in TMPDIR: whoever has another one needs the same ports.
    let locks = Path::new("/tmp").join(format!("mhsm-ports-{user}"));
    std::fs::create_dir_all(&locks)?;
    let start = std::process::id().wrapping_mul(31);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let number = (FIRST + start.wrapping_add(step) % COUNT) as u16;
        let file = File::create(locks.join(number.to_string()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
            return Ok(Port {
                number,
                _lock: file,
            });
        }
    }
    Err(Failure(format!(
        "no free port between {FIRST} and {}",
        FIRST + COUNT
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::lease;

    #[test]
    fn two_leases_never_share_a_port() {
        let leases: Vec<_> = (0..50).map(|_| lease().unwrap()).collect();
        let numbers: BTreeSet<u16> = leases.iter().map(|port| port.number).collect();
        assert_eq!(numbers.len(), leases.len());
    }
}
