//! Examples and exit codes behind the help texts, under the program's own name.

use clap::Command;

use crate::Settings;

const MAIN: &str = "\
Examples:
  {name} install to-disk --image oci:./my-os:v1 --disk-size 10G disk.img
  {name} upgrade --apply
  {name} status
  {name} rollback

Exit codes:
  0  done, or nothing to do
  1  it went wrong; the message says what was changed
  2  the command line was wrong
";

const TO_DISK: &str = "\
Examples:
  An image file for virtual machines, made if it does not exist:
    {name} install to-disk --image oci:./my-os:v1 --disk-size 10G disk.img
  A whole disk, overwriting what is there:
    {name} install to-disk --image docker://registry.example/my-os:v1 --wipe /dev/nvme0n1
  From a local copy, to be upgraded from a registry later:
    {name} install to-disk --image oci:./my-os:v1 --target-imgref docker://registry.example/my-os:stable /dev/sda
";

const TO_FILESYSTEM: &str = "\
Example:
  mount /dev/mapper/vg-root /mnt && mount -m /dev/sda1 /mnt/boot/efi
  {name} install to-filesystem --image docker://registry.example/my-os:v1 /mnt
";

const UPGRADE: &str = "\
The running system is not touched. The new version boots after the next shutdown, and the running one stays as the way back.

An image that did not come up on this machine, or was rolled back, is not staged again until there is another one, or --retry asks for it.

Examples:
  {name} upgrade --check
  {name} upgrade --download-only && … && {name} upgrade --apply
";

const SWITCH: &str = "\
/etc and /var are kept. The running image stays as the way back.

Example:
  {name} switch --apply docker://registry.example/another-os:v1
";

const ROLLBACK: &str = "\
A staged upgrade is dropped. A second rollback before the reboot undoes the first; after it, it leads forward again.
`upgrade` does not bring back what was rolled back.

Example:
  {name} rollback --apply
";

const ROOT_ARGS: &str = "\
Example:
  ukify build --cmdline \"$({name} image root-args oci:./my-os:v1) rw quiet\" --linux vmlinuz --initrd initramfs.img
";

/// The command with the program's name, version and examples.
pub fn complete(command: Command, settings: &Settings) -> Command {
    let text = |text: &str| text.replace("{name}", settings.name);
    command
        .name(settings.name)
        .bin_name(settings.name)
        .version(settings.version)
        .about(settings.about)
        .after_help(text(MAIN))
        .mut_subcommand("install", |install| {
            install
                .mut_subcommand("to-disk", |c| c.after_help(text(TO_DISK)))
                .mut_subcommand("to-filesystem", |c| c.after_help(text(TO_FILESYSTEM)))
        })
        .mut_subcommand("upgrade", |c| c.after_help(text(UPGRADE)))
        .mut_subcommand("switch", |c| c.after_help(text(SWITCH)))
        .mut_subcommand("rollback", |c| c.after_help(text(ROLLBACK)))
        .mut_subcommand("image", |image| image.mut_subcommand("root-args", |c| c.after_help(text(ROOT_ARGS))))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        complete(Cli::command(), &Settings::default()).debug_assert();
    }

    #[test]
    fn every_text_names_the_program_as_its_distribution_does() {
        let settings = Settings { name: "our-os", ..Settings::default() };
        let mut command = complete(Cli::command(), &settings);
        let help = command.find_subcommand_mut("upgrade").unwrap().render_long_help().to_string();
        assert!(help.contains("our-os upgrade") && !help.contains("bootwright"), "{help}");
    }

    #[test]
    fn every_visible_command_and_option_says_what_it_does() {
        fn check(command: &Command) {
            assert!(command.get_about().is_some(), "{} has no text", command.get_name());
            for arg in
                command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
            {
                assert!(arg.get_help().is_some(), "{} of {} has no text", arg.get_id(), command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&complete(Cli::command(), &Settings::default()));
    }
}
