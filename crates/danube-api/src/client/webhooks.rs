//! Calls about webhooks.

use ureq::http::Method;

use super::{Client, ClientError, escape, with_query};
use crate::{DeliveryList, DeliveryView, SigningSecret, WEBHOOKS_PATH};

impl Client {
    /// A page of webhooks. `query` holds `status`, `limit`, `cursor`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn webhooks(&self, query: &[(&str, Option<&str>)]) -> Result<DeliveryList, ClientError> {
        let path = format!("{WEBHOOKS_PATH}/deliveries");
        self.json(Method::GET, &with_query(&path, query), None, None)
    }

    /// The webhook of a job, by the job's id or its own, with its attempts.
    ///
    /// # Errors
    /// [`ClientError`]; `not_found` when the job has none.
    pub fn webhook(&self, id: &str) -> Result<DeliveryView, ClientError> {
        let path = format!("{WEBHOOKS_PATH}/deliveries/{}", escape(id));
        self.json(Method::GET, &path, None, None)
    }

    /// Sends a webhook again.
    ///
    /// # Errors
    /// [`ClientError`]; `wrong_state` when its job hasn't ended.
    pub fn replay_webhook(&self, id: &str) -> Result<DeliveryView, ClientError> {
        let path = format!("{WEBHOOKS_PATH}/deliveries/{}/replay", escape(id));
        self.json(Method::POST, &path, Some(Vec::new()), None)
    }

    /// The secret that signs the webhooks of this key's jobs: the first time it is shown,
    /// later another takes its place.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn webhook_secret(&self) -> Result<SigningSecret, ClientError> {
        let path = format!("{WEBHOOKS_PATH}/secret");
        self.json(Method::POST, &path, Some(Vec::new()), None)
    }
}
