//! Makes virtual machines with an empty disk.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::world::VmWorld;
use crate::{
    host,
    images::Cache,
    suite::{Cell, Missing, Points, Result, Reuse, Tier, World, WorldFactory},
    system::{Programs, Systems, fixture},
};

/// Makes virtual machines; programs are built once.
#[derive(Debug, Default)]
pub struct VmFactory {
    programs: Arc<Mutex<Option<Programs>>>,
}

impl VmFactory {
    /// Uses these programs instead of building our own.
    pub fn with_programs(programs: Programs) -> Self {
        Self { programs: Arc::new(Mutex::new(Some(programs))) }
    }

    fn systems(&self, backend: &str) -> anyhow::Result<Systems> {
        let mut known = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let programs = match known.clone() {
            Some(programs) => programs,
            None => known.insert(Programs::build()?).clone(),
        };
        drop(known);
        Systems::with_programs(programs, Cache::in_target_dir()?)?.for_backend(backend)
    }
}

#[async_trait]
impl WorldFactory for VmFactory {
    fn tier(&self) -> Tier {
        Tier::Vm
    }

    fn reuse(&self) -> Reuse {
        Reuse::AsItIs
    }

    fn can_run(&self, cell: &Cell) -> Result<(), Missing> {
        let missing = |what: &str| Err(Missing(what.to_owned()));
        if !host::is_root() {
            return missing("root privileges, to make disks");
        }
        if host::find_program("qemu-system-x86_64").is_none() {
            return missing("the program qemu-system-x86_64");
        }
        fixture(&cell.backend).map(drop).map_err(|error| Missing(error.to_string()))
    }

    async fn blank(&self, cell: &Cell, _: Option<Points>) -> Result<Box<dyn World>> {
        Ok(Box::new(VmWorld::new(cell.clone(), self.systems(&cell.backend)?)?))
    }
}
