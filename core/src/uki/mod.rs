//! UKIs: PE sections read and written, addons (UAPI.5).
