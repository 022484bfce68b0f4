import torch
from rrra_training.phases.joint.gradients import on_device

from rrra_haystack.model.encoder import EncodedBatch


def test_what_the_adapter_reads_is_on_its_device_and_keeps_its_gradient() -> None:
    pooled, states = (torch.ones(shape, dtype=torch.bfloat16, requires_grad=True) for shape in ((2, 4), (5, 8)))
    batch = EncodedBatch(torch.arange(2), pooled, states, torch.tensor([2, 3]))
    # Where nothing can be computed, as is the case for another accelerator here.
    moved = on_device(batch, torch.device("meta"))
    for tensor in (moved.pooled, moved.states):
        assert (tensor.device.type, tensor.dtype, tensor.requires_grad) == ("meta", torch.float32, True)
    assert moved.lengths.device.type == "cpu"
    same = on_device(batch, torch.device("cpu"))
    (same.pooled.sum() + 2 * same.states.sum()).backward()
    assert pooled.grad is not None
    assert states.grad is not None
    assert (pooled.grad == 1).all()
    assert (states.grad == 2).all()
