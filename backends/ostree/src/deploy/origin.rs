//! Origin files: what libostree, and other programs that use it, are told about a deployment.

use bootwright_core::model::Deployment;
use ostree_ext::glib;

/// The key under which programs of the field keep the image that upgrades follow; the prefix says that no signature was checked.
const IMAGE: &str = "container-image-reference";
const UNVERIFIED: &str = "ostree-unverified-image:";

/// Where libostree keeps a pin.
const TRANSIENT: &str = "libostree-transient";
const PINNED: &str = "pinned";

/// The origin of a deployment, which libostree is told to keep if somebody pinned it there.
pub(crate) fn origin(deployment: &Deployment, pinned: bool) -> glib::KeyFile {
    let file = glib::KeyFile::new();
    file.set_string("origin", IMAGE, &format!("{UNVERIFIED}{}", deployment.origin));
    file.set_string("bootwright", "manifest_digest", deployment.image.manifest_digest.as_str());
    file.set_string("bootwright", "deployment", deployment.id.as_str());
    if pinned {
        file.set_boolean(TRANSIENT, PINNED, true);
    }
    file
}
