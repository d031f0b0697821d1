//! Each defect that the simulator found, as the shortest history that shows it.
