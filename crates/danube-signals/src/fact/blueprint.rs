//! What becomes of the blueprint.

use std::time::Duration;

use super::fact;

fact! {
    /// Another blueprint is in force, the one in force is well again, or somebody asked for a
    /// sync that found nothing new.
    BlueprintSyncCompleted<'a> = "blueprint_sync_completed", INFO, "danube.blueprint";
    {
        commit: &'a str,
        /// How many it declares.
        pipelines: u64,
        users: u64,
        teams: u64,
        duration_seconds: Duration,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// The blueprint can't be fetched or is wrong; what was in force stays. Told when there is
    /// something new to tell, or somebody asked.
    BlueprintSyncFailed<'a> = "blueprint_sync_failed", ERROR, "danube.blueprint";
    {
        /// With file, line and column, where it is wrong.
        error: &'a str,
    }
    also {}
    metrics |_, _| {}
}
