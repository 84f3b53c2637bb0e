"""Architectures with explicit widths, saved as data, never as code.

Every network takes float32 (N,3,H,W) in [0,1], normalises inside, and returns logits (N,K). ``features`` gives the
last feature map (N,C,h,w); a network with a linear ``head`` on its global average has an exact CAM.
"""

from edgexai.registry import Entry

ARCHITECTURES: dict[str, Entry] = {
    "signnet": Entry("edgexai.models.signnet:SignNet"),
    "resnet18": Entry("edgexai.models.resnet:ResNet18"),
    "resnet20": Entry("edgexai.models.resnet20:ResNet20"),
    "mobilenet_v2": Entry("edgexai.models.mobilenet_v2:MobileNetV2"),
    "densenet_small": Entry("edgexai.models.densenet_small:DenseNetSmall"),
    "vgg16": Entry("edgexai.models.vgg:Vgg16"),
    "lisa_cnn": Entry("edgexai.models.lisa_cnn:LisaCnn"),
}
