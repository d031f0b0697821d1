//! What other threads left in the mailbox.

use super::{Closing, Driver};
use crate::engine::effect::RequestId;
use crate::io::descriptors::leaves_enough;
use crate::io::mailbox::Mail;
use crate::io::node_status::NodeStatus;
use crate::io::prewriter::Answer;
use crate::io::staging::Gate;
use crate::time::Now;

impl Driver {
    pub(super) fn take_mail(&mut self, now: Now) {
        // The mail first: what whoever ceased to poll reported before saying so is then among the outcomes.
        let mail = self.parts.shared.mailbox().take();
        let outcomes = self.parts.shared.handoff.take_outcomes();
        self.parts.engine.handle_outcomes(now, outcomes);
        for mail in mail {
            self.take_one(now, mail);
        }
    }

    fn take_one(&mut self, now: Now, mail: Mail) {
        let engine = &mut self.parts.engine;
        match mail {
            // Whoever asked is told that the node is gone.
            Mail::Request(..) if self.closing != Closing::No => {}
            Mail::Request(id, request, reply) => {
                self.replies.insert(id, reply);
                engine.handle_request(now, id, request);
            }
            Mail::Forget(id) => self.forget(id),
            Mail::Serving(serving) => {
                self.serving = serving.unwrap_or(0);
                engine.handle_serving(now, serving.is_some());
            }
            Mail::Status(reply) => {
                let status = self.status(now);
                // Whoever asked may have gone.
                drop(reply.send(status));
            }
            Mail::List { list, from, until, reply } => {
                drop(reply.send(engine.state().page(engine.durable(), list, from, until)));
            }
            Mail::Oldest { most, reply } => {
                drop(reply.send(engine.state().oldest_owed(engine.durable(), most)));
            }
            Mail::Log(from, reply) => drop(reply.send(engine.state().log_page(engine.durable(), from))),
            Mail::Pin(reply) => {
                let pin = self.pin();
                // Whoever asked may have gone, and its pin with it.
                drop(reply.send(pin));
            }
            Mail::Unpinned => {}
            Mail::Prewriter(answer) => self.take_answer(now, answer),
            Mail::Dialled(address, Ok(stream)) if !leaves_enough(&stream) => {
                tracing::warn!(
                    address,
                    "a connection is given up: what descriptors are left are kept for the log"
                );
                engine.handle_dial_failed(now, &address);
            }
            Mail::Dialled(address, Ok(stream)) => {
                if self.closing == Closing::No {
                    let id = engine.handle_connected(now, &address);
                    self.connect(id, tokio_uring::net::TcpStream::from_std(stream));
                }
            }
            Mail::Dialled(address, Err(error)) => {
                tracing::debug!(address, %error, "cannot connect");
                engine.handle_dial_failed(now, &address);
            }
            Mail::Close => {
                if self.closing == Closing::No {
                    self.closing = Closing::Flushing;
                    self.gate = Gate::Closed;
                    self.parts.shared.staging.lock().set_gate(self.gate);
                    // Whoever serves ends; what is reported until the closing batch is still written.
                    self.parts.shared.handoff.end();
                    engine.handle_close(now);
                }
            }
        }
    }

    fn forget(&mut self, id: RequestId) {
        self.replies.remove(&id);
        self.parts.engine.forget_request(id);
    }

    fn take_answer(&mut self, now: Now, answer: Answer) {
        let engine = &mut self.parts.engine;
        match answer {
            Answer::Prepared { number, file } => {
                self.parts.files.insert(number, file);
                engine.handle_prepared(number);
            }
            Answer::DiskFull { number } => {
                tracing::warn!(
                    segment = number.0,
                    "the disk is full: publishing is refused once this segment is"
                );
                engine.handle_disk_full(now);
                self.break_pins();
            }
            // The log goes on in the segment it has, and tries again like with a full disk.
            Answer::PrepareFailed { number, source } => {
                tracing::error!(segment = number.0, error = %source, "the next segment cannot be prepared");
                engine.handle_disk_full(now);
            }
            Answer::Freed { number, recycled } => tracing::debug!(segment = number.0, recycled, "freed"),
            Answer::FreeFailed { number, source } => {
                tracing::warn!(segment = number.0, error = %source, "a segment that is no longer needed stays");
            }
        }
    }

    fn status(&self, now: Now) -> NodeStatus {
        let parts = &self.parts;
        NodeStatus {
            engine: parts.engine.status(),
            traffic: *parts.engine.traffic(),
            commits: self.commits.sums(now.monotonic),
            durable: parts.engine.durable(),
            dispatched: parts.engine.dispatched(),
            segments: parts.engine.segments().count() as u64,
            log_bytes: parts.engine.segments().count() as u64 * parts.engine.segments().segment_bytes(),
            flushes: parts.engine.durable_batch().0,
            written_bytes: self.written_bytes,
            file_system: parts.directory.file_system().to_string(),
            direct: parts.files.is_direct(),
            durability_warning: parts.directory.durability_warning(),
            registration: parts.pool.registration().to_string(),
            recovery: parts.recovery.clone(),
            disk_full: parts.engine.is_disk_full(),
            disk_quota_reached: parts.engine.is_at_quota(),
            failure: parts.shared.failure().map(|error| error.to_string()),
        }
    }
}
