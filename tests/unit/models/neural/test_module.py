"""The networks: what stands in padding never counts, and each part is what a plain version of it gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from demur.models.neural._module import TextNetwork, reverse_rows

ARCHITECTURES = ("cnn", "lstm", "bilstm", "transformer", "hybrid")


def build(small, architecture, **changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TextNetwork(small(architecture, **changes), 50, 3).eval()


def give(network, rows, width=None, junk=0):
    """Logits of rows of ids, padded to ``width`` with ids ``junk``."""
    width = width or max(map(len, rows))
    ids = torch.tensor([[*row, *[junk] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    types = torch.tensor([[0, *[1] * (len(row) - 1), *[junk % 2] * (width - len(row))] for row in rows])
    with torch.no_grad():
        return network(ids, mask, types)["logits"].numpy()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_never_counts_whatever_stands_in_it(small, architecture, layers):
    network = build(small, architecture, layers=layers)
    rows = [[1, 5, 2], [1, 2], [1, 7, 8, 9, 10, 2], list(range(3, 43))]
    alone = np.concatenate([give(network, [row]) for row in rows])
    np.testing.assert_allclose(give(network, rows), alone, atol=1e-6)
    np.testing.assert_allclose(give(network, rows, width=60, junk=13), alone, atol=1e-6)


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "cnn"])
def test_the_order_of_tokens_counts(small, architecture):
    network = build(small, architecture)
    assert not np.allclose(give(network, [[1, 5, 6, 7]]), give(network, [[1, 7, 6, 5]]), atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_segment_of_a_token_counts(small, architecture):
    network = build(small, architecture)
    ids, mask = torch.tensor([[1, 5, 6, 2]]), torch.ones(1, 4, dtype=torch.long)
    with torch.no_grad():
        found = [network(ids, mask, torch.full_like(ids, kind))["logits"].numpy() for kind in (0, 1)]
    assert not np.allclose(*found, atol=1e-6)


def test_convolutions_are_dot_products_of_windows_at_their_best_place(small):
    network = build(small, "cnn", widths=(3,))
    ids = [4, 9, 11, 30, 2]
    embedded = network.tokens.weight[ids] + network.segments.weight[[0, 1, 1, 1, 1]]
    padded = np.pad(embedded.detach().numpy(), ((1, 1), (0, 0)))
    convolution = network.body.filters.convolutions[0]
    weight, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()  # (filters, dim, 3)
    windows = np.stack([padded[at : at + 3].T for at in range(5)])  # (seq, dim, 3)
    outputs = np.maximum(np.einsum("sdw,fdw->sf", windows, weight) + bias, 0).max(axis=0)
    expected = outputs @ network.classifier.weight.detach().numpy().T + network.classifier.bias.detach().numpy()
    np.testing.assert_allclose(give(network, [ids])[0], expected, atol=1e-5)


def test_both_directions_are_those_of_torch_on_packed_rows(small):
    network = build(small, "bilstm")
    body, size = network.body, 12
    plain = torch.nn.LSTM(16, size, batch_first=True, bidirectional=True)
    state = dict(body.ahead[0].named_parameters())
    state |= {f"{name}_reverse": part for name, part in body.back[0].named_parameters()}
    plain.load_state_dict(state)
    lengths, values = torch.tensor([7, 3]), torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(7) < lengths[:, None]).long()
    packed = torch.nn.utils.rnn.pack_padded_sequence(values, lengths, batch_first=True)
    with torch.no_grad():
        states = torch.nn.utils.rnn.pad_packed_sequence(plain(packed)[0], batch_first=True)[0]
        expected = [
            torch.cat([row[:length].mean(dim=0), row[:length].amax(dim=0)])
            for row, length in zip(states, lengths, strict=True)
        ]
        found = body(values * mask.unsqueeze(-1), mask)
    np.testing.assert_allclose(found.numpy(), torch.stack(expected).numpy(), atol=1e-6)


def test_a_block_is_what_torch_s_own_layer_gives(small):
    network = build(small, "transformer")
    block = network.body.blocks[0]
    plain = torch.nn.TransformerEncoderLayer(
        16, 2, 12, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    plain.load_state_dict(
        {
            "self_attn.in_proj_weight": block.mix.weight,
            "self_attn.in_proj_bias": block.mix.bias,
            "self_attn.out_proj.weight": block.out.weight,
            "self_attn.out_proj.bias": block.out.bias,
            "linear1.weight": block.inner.weight,
            "linear1.bias": block.inner.bias,
            "linear2.weight": block.outer.weight,
            "linear2.bias": block.outer.bias,
            "norm1.weight": block.norm_1.weight,
            "norm1.bias": block.norm_1.bias,
            "norm2.weight": block.norm_2.weight,
            "norm2.bias": block.norm_2.bias,
        }
    )
    values = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    with torch.no_grad():
        expected = plain.train()(values, src_key_padding_mask=mask == 0)
        found = block(values, mask)
    np.testing.assert_allclose(found[mask.bool()].numpy(), expected[mask.bool()].numpy(), atol=1e-5)


def test_rows_turn_round_within_their_own_length():
    values = torch.arange(8.0).view(2, 4, 1)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    turned = reverse_rows(values, mask)
    assert turned.squeeze(-1).tolist() == [[2, 1, 0, 3], [7, 6, 5, 4]]
    assert reverse_rows(turned, mask).equal(values)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_class_ruled_out_has_no_probability_but_can_be_learned(small, architecture):
    network = build(small, architecture)
    network.rule_out([1])
    chances = torch.tensor(give(network, [[1, 5, 2]])).double().softmax(dim=1)[0]
    assert chances[1] == 0
    ids = torch.tensor([[1, 5, 2]])
    trained = network.train()(ids, torch.ones_like(ids), torch.zeros_like(ids))["logits"]
    assert trained.abs().max() < 100


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_step_lowers_the_loss(small, architecture):
    network = build(small, architecture, dropout=0.0).train()
    ids = torch.tensor([[1, 5, 6, 2], [1, 9, 8, 2], [1, 4, 4, 2]])
    inputs, targets = (ids, torch.ones_like(ids), torch.zeros_like(ids)), torch.tensor([0, 1, 2])
    optimiser, losses = torch.optim.SGD(network.parameters(), lr=0.1), []
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(network(*inputs)["logits"], targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
