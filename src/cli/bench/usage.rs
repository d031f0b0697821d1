//! What a process has used of the machine, as the kernel counts it.

use std::fs;

use crate::bus::Stopwatch;

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Nanoseconds of processor time of all its threads, those that have ended too.
    pub cpu_ns: u64,
    /// Of its engine's thread alone, which must still run.
    pub engine_cpu_ns: u64,
    /// The most memory it had, in bytes, since it began or that was forgotten.
    pub peak_rss_bytes: u64,
}

impl Usage {
    /// This process now.
    pub fn now() -> Usage {
        Usage {
            cpu_ns: u64::try_from(Stopwatch::process_cpu().as_nanos()).unwrap_or(u64::MAX),
            engine_cpu_ns: engine_cpu_ns(),
            peak_rss_bytes: of_status("VmHWM:").unwrap_or(0),
        }
    }

    /// This process now, with as much memory as it has now for the most that it had: what was done before does not count.
    pub fn from_now() -> Usage {
        // A kernel that cannot forget counts the most since the process began.
        drop(fs::write("/proc/self/clear_refs", "5"));
        Usage::now()
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
            engine_cpu_ns: self.engine_cpu_ns.saturating_sub(before.engine_cpu_ns),
            peak_rss_bytes: self.peak_rss_bytes,
        }
    }

    /// That of both together; of their memory the larger, for each has its own.
    pub fn and(&self, other: &Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            engine_cpu_ns: self.engine_cpu_ns + other.engine_cpu_ns,
            peak_rss_bytes: self.peak_rss_bytes.max(other.peak_rss_bytes),
        }
    }
}

/// The memory that this process has now, in bytes.
pub fn rss_bytes() -> u64 {
    of_status("VmRSS:").unwrap_or(0)
}

fn engine_cpu_ns() -> u64 {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.starts_with("resolute-engin") {
            let times = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            sum += times.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0);
        }
    }
    sum
}

fn of_status(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_of_a_thread_that_has_ended_counts() {
        let before = Usage::now();
        let busy = std::thread::spawn(|| {
            let watch = Stopwatch::start();
            while Stopwatch::process_cpu().as_millis() < 20 || watch.elapsed().as_millis() < 20 {
                std::hint::spin_loop();
            }
            let times = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            times.split_whitespace().next().unwrap().parse::<u64>().unwrap()
        });
        let of_thread = busy.join().unwrap();
        let used = Usage::now().since(&before).cpu_ns;
        assert!(of_thread > 0 && used >= of_thread, "{used} ns in all, {of_thread} ns in the thread");
    }

    #[test]
    fn memory_is_counted_now_and_at_its_most() {
        assert!(rss_bytes() > 0 && Usage::now().peak_rss_bytes >= rss_bytes() / 2);
    }
}
