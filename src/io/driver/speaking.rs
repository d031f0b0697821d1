//! Bytes to peers, and messages to handlers.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::Driver;
use crate::limits::{DISPATCH_BYTES_MAX, GOODBYE_MS, HAND_OVER_COPY_BYTES};

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
            // A peer that takes nothing does not hold us up; and one that is gone before holds no memory until then.
            let connection = Rc::downgrade(connection);
            self.spawn(async move {
                tokio::time::sleep(Duration::from_millis(GOODBYE_MS)).await;
                if let Some(connection) = connection.upgrade() {
                    connection.abort();
                }
            });
        }
    }

    /// Messages for handlers, as many as there is room for.
    pub(super) fn hand_over(&mut self) {
        let handoff = &self.parts.shared.handoff;
        let low = handoff.is_low();
        self.parts.engine.hold_dispatch(!low);
        self.waits_for_room = !low;
        if !low {
            return;
        }
        let (mut room, mut dispatches) = (handoff.room(), Vec::new());
        let mut bytes = 0;
        while bytes < DISPATCH_BYTES_MAX
            && let Some(mut dispatch) = self.parts.engine.poll_dispatch(room)
        {
            room -= dispatch.range.count;
            let length: usize = dispatch.pieces.iter().map(Bytes::len).sum();
            bytes += length;
            if length < HAND_OVER_COPY_BYTES {
                dispatch.pieces = dispatch.pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
            }
            dispatches.push(dispatch);
        }
        self.waits_for_room = room == 0 || bytes >= DISPATCH_BYTES_MAX;
        if !dispatches.is_empty() {
            handoff.push(self.serving, dispatches);
        }
    }
}
