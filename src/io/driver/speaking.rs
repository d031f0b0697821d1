//! Bytes to peers, and messages to handlers.

use std::rc::Rc;
use std::time::Duration;

use super::Driver;
use crate::limits::GOODBYE_MS;

impl Driver {
    /// Everything that may be said now, the sessions taking turns.
    pub(super) fn speak(&mut self) {
        self.parts.engine.begin_transmitting();
        while let Some(transmit) = self.parts.engine.poll_transmit() {
            assert!(transmit.after <= self.parts.engine.durable(), "nothing is said that is not durable");
            if let Some(connection) = self.connections.get(&transmit.session) {
                connection.send(transmit.pieces);
            }
        }
        while let Some(close) = self.parts.engine.poll_close() {
            let Some(connection) = self.connections.get(&close.session) else { continue };
            connection.close();
            // A peer that takes nothing does not hold us up.
            let connection = Rc::clone(connection);
            self.spawn(async move {
                tokio::time::sleep(Duration::from_millis(GOODBYE_MS)).await;
                connection.abort();
            });
        }
    }

    /// Messages for handlers, as many as there is room for.
    pub(super) fn hand_over(&mut self) {
        let handoff = &self.parts.shared.handoff;
        if !handoff.is_low() {
            return;
        }
        let (mut room, mut dispatches) = (handoff.room(), Vec::new());
        while let Some(dispatch) = self.parts.engine.poll_dispatch(room) {
            room -= dispatch.range.count;
            dispatches.push(dispatch);
        }
        if !dispatches.is_empty() {
            handoff.push(dispatches);
        }
    }
}
