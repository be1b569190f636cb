//! The whole program, from outside: real processes, real HTTP.

mod cli;
mod golden;
mod life;
mod master;
