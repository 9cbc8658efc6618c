def test_every_stage_tells_its_bounds_reasons_and_agreement(finished):
    for cell in finished[1].cells:
        for stage in cell["stages"]:
            assert stage["bounds"]["max_repetition"] >= 0.5
            assert stage["agreement"][0]["judges"] == ["keywords", "rules"]
            assert set(stage["outcomes"]) == {"keywords", "rules"}
            assert len(stage["outcomes"]["rules"]) == 9


def test_adapters_are_named_within_the_run_folder(finished):
    folder, result = finished
    stage = result.cells[1]["stages"][-1]
    assert (folder / stage["artefact"] / "adapter_config.json").is_file()
