//! What an operator does: following links, filling in forms, pressing keys. All of it is found by what people can read.

use fantoccini::{
    Locator,
    actions::{InputSource, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions, PointerAction},
    elements::Element,
    error::{CmdError, ErrorStatus},
};
use tokio::time::{Instant, sleep};

use super::{Browser, PATIENCE, eyes::PAUSE};

/// The keys that have no letter, as the standard writes them.
pub mod key {
    pub const TAB: char = '\u{e004}';
    pub const ENTER: char = '\u{e007}';
    pub const SHIFT: char = '\u{e008}';
}

impl Browser {
    /// Opens a page of the server.
    pub async fn goto(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.origin)).await.unwrap();
    }

    /// Clicks the link or button that reads `name`, or is called that.
    pub async fn click(&self, name: &str) {
        let name = quoted(name);
        let control = ["a", "button", "summary"]
            .map(|tag| format!("//{tag}[normalize-space()={name} or @aria-label={name}]"))
            .join(" | ");
        self.with(&control, async |element| self.click_on(element).await)
            .await;
    }

    /// Writes into the field that is labelled `label`, in place of what is there.
    pub async fn fill(&self, label: &str, text: &str) {
        self.with(&labelled(label), async |element| {
            element.clear().await?;
            element.send_keys(text).await
        })
        .await;
    }

    /// Chooses from the list that is labelled `label`.
    pub async fn choose(&self, label: &str, option: &str) {
        self.with(&labelled(label), async |element| {
            match element.select_by_label(option).await {
                Err(CmdError::Standard(error)) if error.error == ErrorStatus::ElementNotInteractable => {
                    self.type_choice(element, option).await
                }
                chosen => chosen,
            }
        })
        .await;
    }

    /// Chooses by keyboard. The driver takes a list in a closed `details` for hidden, whatever the style sheet says.
    async fn type_choice(&self, list: &Element, option: &str) -> Result<(), CmdError> {
        let list = serde_json::to_value(list).unwrap();
        self.client.execute("arguments[0].focus()", vec![list]).await?;
        self.press(&option.chars().collect::<Vec<_>>()).await;
        Ok(())
    }

    /// Clicks the first box or radio button whose label begins with `text`.
    pub async fn tick(&self, text: &str) {
        let text = quoted(text);
        let path = format!(
            "//label[starts-with(normalize-space(), {text})] | //input[starts-with(@aria-label, {text})]"
        );
        self.with(&path, async |element| self.click_on(element).await)
            .await;
    }

    /// Holds a key down during an action.
    pub async fn holding(&self, value: char, act: impl AsyncFnOnce()) {
        let key = |action| KeyActions::new("keyboard".to_owned()).then(action);
        let down = key(KeyAction::Down { value });
        self.client.perform_actions(down).await.unwrap();
        act().await;
        let up = key(KeyAction::Up { value });
        self.client.perform_actions(up).await.unwrap();
    }

    /// Presses keys, one after the other.
    pub async fn press(&self, keys: &[char]) {
        let mut actions = KeyActions::new("keyboard".to_owned());
        for value in keys {
            actions = actions.then(KeyAction::Down { value: *value });
            actions = actions.then(KeyAction::Up { value: *value });
        }
        self.client.perform_actions(actions).await.unwrap();
    }

    /// Clicks where an element is, unless it is hidden, or something is in front of it. The driver's own click takes what is in
    /// a closed `details` for hidden, whatever the style sheet says.
    async fn click_on(&self, element: &Element) -> Result<(), CmdError> {
        let place = self
            .client
            .execute(PLACE, vec![serde_json::to_value(element).unwrap()])
            .await?;
        let (Some(x), Some(y)) = (place[0].as_f64(), place[1].as_f64()) else {
            return Err(CmdError::WaitTimeout);
        };
        let click = MouseActions::new("mouse".to_owned())
            .then(PointerAction::MoveTo { duration: None, x, y })
            .then(PointerAction::Down {
                button: MOUSE_BUTTON_LEFT,
            })
            .then(PointerAction::Up {
                button: MOUSE_BUTTON_LEFT,
            });
        self.client.perform_actions(click).await
    }

    /// Does something with the first element that a path finds and that is shown, as soon as that can be done: pages load,
    /// and parts of them are replaced.
    async fn with(&self, path: &str, mut act: impl AsyncFnMut(&Element) -> Result<(), CmdError>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tried = async {
                for element in self.client.find_all(Locator::XPath(path)).await? {
                    if self.shows(&element).await? {
                        return act(&element).await.map(|()| true);
                    }
                }
                Ok(false)
            };
            match tried.await {
                Ok(true) => return,
                Ok(false) | Err(CmdError::WaitTimeout) => {}
                Err(CmdError::Standard(error)) if may_pass(&error.error) => {}
                Err(error) => panic!("{path}: {error}"),
            }
            assert!(
                Instant::now() < deadline,
                "nothing like {path} can be used at {}, which reads:\n{}",
                self.path().await,
                self.text().await
            );
            sleep(PAUSE).await;
        }
    }
}

/// Where a click would meet an element; nothing, if it would not.
const PLACE: &str = "
const [element] = arguments;
element.scrollIntoView({ block: 'center', inline: 'nearest', behavior: 'instant' });
const [box] = element.getClientRects();
if (!box) return null;
const [x, y] = [Math.floor(box.left + box.width / 2), Math.floor(box.top + box.height / 2)];
return element.contains(document.elementFromPoint(x, y)) ? [x, y] : null;
";

/// The controls that belong to a label: by its `for`, within it, or with its text as `aria-label`.
pub(super) fn labelled(label: &str) -> String {
    let text = quoted(label);
    let label = format!("//label[normalize-space()={text}]");
    let controls = "[self::input or self::select or self::textarea]";
    format!("(//*[@id={label}/@for]{controls} | {label}//*{controls} | //*[@aria-label={text}]{controls})")
}

/// A text in quotes that do not occur in it: paths know no escapes.
fn quoted(text: &str) -> String {
    if text.contains('\'') {
        assert!(!text.contains('"'), "XPath cannot say {text}");
        format!("\"{text}\"")
    } else {
        format!("'{text}'")
    }
}

/// What is only so for now, while a page changes.
fn may_pass(error: &ErrorStatus) -> bool {
    use ErrorStatus::{
        ElementClickIntercepted, ElementNotInteractable, NoSuchElement, StaleElementReference,
    };
    matches!(
        error,
        ElementClickIntercepted | ElementNotInteractable | NoSuchElement | StaleElementReference
    )
}
