import asyncio


def test_what_goes_on_behind_an_answer_is_known_until_it_ends(guard):
    async def main():
        opened = asyncio.Event()
        guard.parts.spawn(opened.wait())
        assert len(guard.parts.background) == 1
        opened.set()
        while guard.parts.background:
            await asyncio.sleep(0)

    guard.run(main())
    assert guard.parts.background == set()
