//! What a process has used of the machine, as the kernel counts it.

use std::fs;

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Nanoseconds of processor time of all its threads that still run.
    pub cpu_ns: u64,
    /// Of its engine's thread alone.
    pub engine_cpu_ns: u64,
    /// The most memory it ever had, in bytes.
    pub peak_rss_bytes: u64,
}

impl Usage {
    /// This process now.
    pub fn now() -> Usage {
        let mut usage = Usage { peak_rss_bytes: peak_rss_bytes().unwrap_or(0), ..Usage::default() };
        for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let times = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let nanos: u64 = times.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0);
            usage.cpu_ns += nanos;
            if name.starts_with("resolute-engin") {
                usage.engine_cpu_ns += nanos;
            }
        }
        usage
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
            engine_cpu_ns: self.engine_cpu_ns.saturating_sub(before.engine_cpu_ns),
            peak_rss_bytes: self.peak_rss_bytes,
        }
    }
}

fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
