//! Properties of whole parts of the bus, each under crashes, damage and odd orders.

mod recovery;
