//! How long is waited for what must come.

use std::time::Duration;

/// So many pauses are waited, which is far longer than anything takes: a hang must be told from a machine that is busy with
/// something else. They are counted and not measured: a process that was stopped for minutes lost no patience.
const PAUSES: u32 = 9_000;

const PAUSE: Duration = Duration::from_millis(100);

/// The outcome of `future`; an error if it does not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, String> {
    let patience = async {
        for _ in 0..PAUSES {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        value = future => Ok(value),
        () = patience => Err(format!("waited too long: {what}")),
    }
}
