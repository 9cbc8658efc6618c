from demur.serve.pool import ChampionRouter, Router


def test_without_experiments_the_champion_answers():
    router = ChampionRouter()
    router.refresh()
    route = router.route("refusal", "somebody")
    assert (route.version, route.experiment, route.arm, route.shadows) == (None, None, None, ())
    assert not router.wanted()


def test_it_is_a_router():
    assert isinstance(ChampionRouter(), Router)
