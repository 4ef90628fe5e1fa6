"""The handlers of the commands: what each of them does, once its words were understood."""
