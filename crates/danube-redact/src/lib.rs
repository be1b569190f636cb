//! Takes secrets out of a byte stream: registered values in all their encodings, and patterns.
