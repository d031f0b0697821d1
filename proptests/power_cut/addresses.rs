//! Where nodes listen, and where none does.

/// Nobody is there: what is sent to it stays, and is carried forward while the log around it is freed.
pub const ABSENT: &str = "tcp://127.0.0.1:9";

/// Below those that the system gives to connections: one of them could be there when a node comes back.
pub fn free_port() -> u16 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let start = std::process::id() * 61;
    loop {
        let step = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let port = 30_000 + (start.wrapping_add(step) % 2_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
