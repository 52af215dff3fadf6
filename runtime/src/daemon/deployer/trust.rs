//! A trust list that is installed while the daemon serves: it counts from the next thing on that is verified.

use std::sync::Arc;

use super::super::trust::{Trustees, install_list};
use super::super::trusting::{consequences, read_list};
use super::Deployer;
use crate::admin::Uploaded;
use crate::blocking::unblock;
use crate::error::{Error, Result};

impl Deployer {
    /// Installs the list that this reads. What is served goes on being served; answers what will be different.
    pub(super) async fn install_trust_list(self: &Arc<Self>, list: Uploaded) -> Result<String> {
        if self.data.is_temporary() {
            return Err(Error::Refused(
                "this daemon has no data folder that stays, so the list would be gone with it: start it with \
                 --data-dir"
                    .to_owned(),
            ));
        }
        let Uploaded { name, from } = list;
        let shown = name.clone();
        let bytes = unblock(move || read_list(&shown, from)).await;
        // One that broke off for this is not at fault.
        self.check_running()?;
        let bytes = bytes?;
        // One at a time: of two lists the one with the higher number stays.
        let _owner = self.owner.lock().await;
        let deployer = Arc::clone(self);
        unblock(move || {
            let config = Arc::clone(&deployer.served().config);
            let trustees = Trustees::of(&config);
            let list = install_list(deployer.data.path(), &config.key_dirs, &name, &bytes)?;
            log::info!("trust list {} counts from now on", list.number);
            let mut told = vec![format!("trust list {} counts from now on", list.number)];
            for consequence in consequences(deployer.data.path(), &trustees, &list) {
                log::warn!("{consequence}");
                told.push(consequence);
            }
            Ok(told.join("\n"))
        })
        .await
    }
}
