//! The call that takes a backup.

use std::io::Read;

use ureq::SendBody;
use ureq::http::Method;

use super::{Client, ClientError};
use crate::BACKUP_PATH;

impl Client {
    /// Takes a backup of the server: a tar, as it comes. It is whole if its last file is
    /// `manifest.json`. Without the keys, only who has them can restore it.
    ///
    /// # Errors
    /// [`ClientError`]; `wrong_state` while another one is being taken.
    pub fn backup(&self, with_keys: bool) -> Result<impl Read + use<>, ClientError> {
        let keys = u8::from(with_keys);
        let path = format!("{BACKUP_PATH}?keys={keys}");
        let request = self.request(Method::GET, &path).body(SendBody::none());
        let request = request.map_err(|error| self.away(&error.into()))?;
        Ok(self.send(request)?.into_body().into_reader())
    }
}
