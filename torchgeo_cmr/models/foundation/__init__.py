"""Foundation models of TorchGeo as encoders of one modality each, without training."""
