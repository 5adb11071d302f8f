"""`unstall explain`: prints a rule's page."""

from __future__ import annotations

import click

from unstall.catalogue.rules import rule, rules


@click.command("explain")
@click.argument("name", required=False, metavar="[RULE]")
def command(name: str | None) -> None:
    """Print what a rule finds, why that stalls, an example and what to use instead. Without RULE: the list.

    RULE is a code, as UNS102, or a name, as blocking-http.
    """
    if name is None:
        for each in rules():
            click.echo(f"{each.code}  {each.name:<20}  {each.summary}")
        return
    click.echo(rule(name).page.rstrip())
