"""Fixed wrappings of a request: another scene, another form of the answer, an encoding.

References
----------
Wei et al., "Jailbroken: How Does LLM Safety Training Fail?", NeurIPS 2023, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from demur.llm import Target
from demur.paths import hash_value
from demur.stress._protocol import Access, Attack, Cost, Setting, Stage
from demur.stress._requests import change_request
from demur.stress.templates._config import TemplatesConfig, Wrapper
from demur.stress.templates._wrap import choose_wrappers, read_wrappers, wrap


class TemplatesAttack(Attack[TemplatesConfig]):
    """The request in fixed wordings that a user could type; a stage each."""

    name = "templates"
    access: ClassVar[Access] = "prompt"
    title = "The request is put into fixed wordings, such as a scene, a table or an encoding."
    config_type = TemplatesConfig

    @property
    def fingerprint(self) -> str:
        """Of the wrappings."""
        return hash_value([one.model_dump(mode="json") for one in self._wrappers()])

    def _wrappers(self) -> list[Wrapper]:
        return choose_wrappers(self.config.names, read_wrappers(self.config.file))

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        for wrapper in self._wrappers():
            yield Stage(
                target,
                0,
                Cost(),
                label=f"template={wrapper.name}",
                rewrite=lambda one, by=wrapper: change_request(one, lambda text: wrap(by, text)),  # type: ignore[misc]
            )
