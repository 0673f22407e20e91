//! A lean client: requests are encoded beforehand, answers looked at only as far as the next request needs.

pub mod consumer;
pub mod control;
pub mod frames;
pub mod lanes;
pub mod pace;

pub use consumer::Consumer;
pub use control::Control;
pub use lanes::Lanes;
