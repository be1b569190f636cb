//! The whole program, from outside: real processes, real HTTP.

mod api;
mod auth;
mod cli;
mod faults;
mod golden;
mod life;
mod logs;
mod master;
mod pages;
mod processes;
mod stop;
mod stream;
mod wire;
