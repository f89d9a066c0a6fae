"""The wire's shapes under the contract's own names; no behaviour, no database, no HTTP.

One module a resource. `Incoming` classes read what callers send, `Outgoing` classes write what
the service answers (`to_json`); both live in `shapes`. The tests in tests/contract hold every
class against the definition of its name.
"""
