//! Where things are on the physical root, and what is mounted how. No I/O.

use crate::cmdline::RootArgument;

/// The paths that one root argument leads to, relative to the physical root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The link to the EROFS image.
    pub image: String,
    /// The folder of all objects: the data that the image refers to.
    pub objects: String,
    /// This deployment's `/etc`.
    pub etc: String,
    /// This deployment's `/var`: a link to the one that the deployments of its stateroot share.
    pub var: String,
}

impl Layout {
    /// The layout for `root`.
    pub fn new(root: &RootArgument) -> Self {
        let digest = &root.digest;
        Self {
            image: format!("composefs/images/{digest}"),
            objects: "composefs/objects".into(),
            etc: format!("state/deploy/{digest}/etc"),
            var: format!("state/deploy/{digest}/var"),
        }
    }
}

/// How `/etc` is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcMount {
    /// The state folder is a whole, writable `/etc`.
    Bind,
    /// The state folder holds the upper and work folders of an overlay over the image's `/etc`, as upstream lays it out.
    Overlay,
}

impl EtcMount {
    /// Decides by the names in the state folder: an overlay if they are `upper` and `work`, or one of these, and nothing else.
    pub fn choose<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut any = false;
        for name in names {
            if name != b"upper" && name != b"work" {
                return Self::Bind;
            }
            any = true;
        }
        if any { Self::Overlay } else { Self::Bind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmdline;

    #[test]
    fn all_paths_follow_from_the_digest() {
        let digest = "0a".repeat(32);
        let root = cmdline::parse(&format!("composefs={digest}")).expect("valid");
        let layout = Layout::new(&root);
        assert_eq!(layout.image, format!("composefs/images/{digest}"));
        assert_eq!(layout.etc, format!("state/deploy/{digest}/etc"));
        assert_eq!(layout.var, format!("state/deploy/{digest}/var"));
    }

    #[test]
    fn etc_is_an_overlay_only_if_nothing_but_upper_and_work_is_there() {
        let choose = |names: &[&'static str]| EtcMount::choose(names.iter().map(|n| n.as_bytes()));
        assert_eq!(choose(&["upper", "work"]), EtcMount::Overlay);
        assert_eq!(choose(&["upper"]), EtcMount::Overlay);
        assert_eq!(choose(&["upper", "work", "passwd"]), EtcMount::Bind);
        assert_eq!(choose(&["passwd"]), EtcMount::Bind);
        assert_eq!(choose(&[]), EtcMount::Bind);
    }
}
