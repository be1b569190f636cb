//! The server: accepts, decides, remembers, shows.
