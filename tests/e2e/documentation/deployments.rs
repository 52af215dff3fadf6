//! The deployments that the pages show.

use std::fs;

use super::{blocks, files};
use crate::support::{TempDir, pack};

#[test]
fn there_is_nothing_wrong_with_the_deployments_of_the_pages_but_that_their_plugins_are_not_here() {
    let folder = TempDir::new();
    let [yaml, made] = ["deployment.yaml", "app.zlb"].map(|name| folder.path().join(name));
    let mut seen = 0;
    for page in files(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let blocks = blocks(&fs::read_to_string(&page).unwrap(), "yaml");
        for text in blocks.iter().filter(|text| text.starts_with("version: ")) {
            fs::write(&yaml, text).unwrap();
            let said = pack(&yaml, &made);
            let lacks_plugin = [".image: a relative path ", ".image.name: a relative path "]
                .iter()
                .any(|words| said.stderr.contains(words))
                && said.stderr.contains(": cannot open ");
            assert!(lacks_plugin, "{}: {said:?}", page.display());
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} deployments were looked at");
}
