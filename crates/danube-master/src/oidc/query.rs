//! Queries and forms.

/// `name=value` pairs, encoded.
#[derive(Default)]
pub(super) struct Query(String);

impl Query {
    pub(super) fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&encode(value));
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// A value in which nothing is left that means something in a query, a form or a header.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_value_gets_out_of_it() {
        let mut query = Query::default();
        query.add("a", "x&b=1 +%ü");
        query.add("c", "");
        assert_eq!(query.text(), "a=x%26b%3D1%20%2B%25%C3%BC&c=");
    }
}
