// The sign-in page.

import { byId, setHidden, setText } from "./dom.js";
import { explain } from "./orders.js";

export class Login {
  /** `onSignIn(username, password)` throws where it fails; `onGuest()` goes on without. */
  constructor({ onSignIn, onGuest }) {
    this.root = byId("login");
    this.username = byId("login-username");
    this.password = byId("login-password");
    this.button = byId("login-submit");
    byId("login-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit(onSignIn);
    });
    byId("login-guest").addEventListener("click", onGuest);
  }

  show(message = "") {
    setHidden(this.root, false);
    setText(byId("login-message"), message);
    this.username.focus();
  }

  hide() {
    setHidden(this.root, true);
    this.password.value = "";
  }

  get isShown() {
    return !this.root.hidden;
  }

  async submit(onSignIn) {
    const username = this.username.value.trim();
    if (!username || !this.password.value) {
      setText(byId("login-message"), "Enter your username and password.");
      return;
    }
    this.button.disabled = true;
    setText(byId("login-message"), "");
    try {
      await onSignIn(username, this.password.value);
    } catch (error) {
      setText(byId("login-message"), explain(error));
      this.password.select();
    } finally {
      this.button.disabled = false;
    }
  }
}
