"""Storage: bytes that hand arithmetic gives for known layers, quantised ones included."""

from __future__ import annotations

import warnings

import pytest
import torch

from fixtures.measurement.storage import (
    folder_bytes,
    linear_modules,
    linear_weight_bytes,
    scratch_buffer_bytes,
    tensor_bytes,
    weights_bytes,
)

INPUTS, OUTPUTS = 256, 128


class Block(torch.nn.Module):
    """An embedding tied to a head, one linear layer, a kept buffer and a mask."""

    def __init__(self, linear):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 8)
        self.lm_head = torch.nn.Linear(8, 10, bias=False)
        self.lm_head.weight = self.embedding.weight
        self.linear = linear
        self.register_buffer("kept", torch.zeros(3))
        self.register_buffer("mask", torch.zeros(100), persistent=False)

    def get_output_embeddings(self):
        return self.lm_head


def plain_linear():
    return torch.nn.Linear(INPUTS, OUTPUTS)


def test_parameters_and_kept_buffers_count_and_ties_count_once():
    model = Block(plain_linear())
    expected = 4 * (10 * 8 + INPUTS * OUTPUTS + OUTPUTS + 3)
    assert weights_bytes(model) == expected
    assert scratch_buffer_bytes(model) == 400


def test_ties_count_once_without_storage():
    with torch.device("meta"):
        model = Block(plain_linear())
    model.lm_head.weight = model.embedding.weight
    assert weights_bytes(model) == 4 * (10 * 8 + INPUTS * OUTPUTS + OUTPUTS + 3)


def test_linear_bytes_leave_out_embedding_head_and_bias():
    model = Block(plain_linear())
    assert list(linear_modules(model)) == ["linear"]
    assert linear_weight_bytes(model) == 4 * INPUTS * OUTPUTS


def test_half_precision_halves_every_byte():
    model = Block(plain_linear())
    full = weights_bytes(model)
    assert weights_bytes(model.half()) * 2 == full


def test_conv1d_is_a_linear_layer():
    from transformers.pytorch_utils import Conv1D

    assert linear_weight_bytes(Block(Conv1D(OUTPUTS, INPUTS))) == 4 * INPUTS * OUTPUTS


def test_dynamic_quantisation_holds_one_byte_a_weight():
    from torch.ao.nn.quantized import dynamic

    source = plain_linear()
    source.qconfig = torch.ao.quantization.default_dynamic_qconfig
    model = Block(dynamic.Linear.from_float(source))
    assert linear_weight_bytes(model) == INPUTS * OUTPUTS
    assert weights_bytes(model) == INPUTS * OUTPUTS + 4 * (OUTPUTS + 10 * 8 + 3)


def test_per_row_dynamic_quantisation_counts_scales_and_zero_points():
    from torch.ao.nn.quantized import dynamic

    source = plain_linear()
    source.qconfig = torch.ao.quantization.per_channel_dynamic_qconfig
    model = Block(dynamic.Linear.from_float(source))
    # A double for the scale and a 64-bit integer for the zero point of each row.
    assert linear_weight_bytes(model) == INPUTS * OUTPUTS + OUTPUTS * (8 + 8)


def test_int8_holds_a_byte_a_weight_and_a_float_a_row():
    import bitsandbytes as bnb

    layer = bnb.nn.Linear8bitLt(INPUTS, OUTPUTS, has_fp16_weights=False)
    layer.load_state_dict(plain_linear().state_dict())
    assert linear_weight_bytes(Block(layer.to("cpu"))) == INPUTS * OUTPUTS + 4 * OUTPUTS


@pytest.mark.parametrize(
    ("double", "statistics"),
    [
        (False, 512 * 4 + 16 * 4),  # a float for each of 512 blocks of 64, and the 16 levels
        # a byte for each block; 2 blocks of 256 with a float each; 256 levels, an offset, 16 levels
        (True, 512 * 1 + 2 * 4 + 256 * 4 + 4 + 16 * 4),
    ],
)
def test_nf4_holds_half_a_byte_a_weight_and_its_block_scales(double, statistics):
    import bitsandbytes as bnb

    layer = bnb.nn.Linear4bit(INPUTS, OUTPUTS, quant_type="nf4", compress_statistics=double)
    layer.load_state_dict(plain_linear().state_dict())
    assert linear_weight_bytes(Block(layer.to("cpu"))) == INPUTS * OUTPUTS // 2 + statistics


def test_weights_of_two_in_four_count_what_is_held():
    from torch.sparse import SparseSemiStructuredTensorCUTLASS

    layer = torch.nn.Linear(64, 32, bias=False, dtype=torch.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the format is a prototype of PyTorch's
        packed = SparseSemiStructuredTensorCUTLASS(
            torch.Size([32, 64]),
            packed=torch.zeros(32, 32, dtype=torch.bfloat16),
            meta=torch.zeros(32, 4, dtype=torch.int16),
            packed_t=None,
            meta_t=None,
            compressed_swizzled_bitmask=None,
        )
    layer.weight = torch.nn.Parameter(packed, requires_grad=False)
    # Half of the weights at 2 bytes, and 2 bits for each that is left, in words of 16.
    held = 32 * 32 * 2 + 32 * 4 * 2
    assert linear_weight_bytes(Block(layer)) == held
    assert weights_bytes(Block(layer)) == held + 10 * 8 * 4 + 3 * 4


def test_one_tensor_under_two_names_counts_once():
    tensor = torch.zeros(5)
    assert tensor_bytes([tensor, tensor, tensor.clone()]) == 40


def test_folder_weighs_all_files_below_it(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.bin").write_bytes(b"x" * 100)
    (tmp_path / "inner" / "b.bin").write_bytes(b"x" * 23)
    assert folder_bytes(tmp_path) == 123


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent to weigh"):
        folder_bytes(tmp_path / "absent")
