use crate::shell::{Answer, Arguments};
pub(crate) fn run(_: &Arguments) -> Answer<()> {
    Ok(())
}
