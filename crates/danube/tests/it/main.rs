//! The whole program, from outside: real processes, real HTTP.

mod api;
mod cli;
mod faults;
mod golden;
mod life;
mod master;
mod processes;
mod wire;
