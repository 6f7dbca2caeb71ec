"""The config file of the STM32 model zoo (``user_config.yaml``) as stages of ours.

    fields        sections and fields, their types, what each mode needs
    reading       the file: misprints, ``${...}``, sums, all faults at once
    translation   its values as a config of this task
    stages        operation modes as stages
    report        lines of ``stm32ai_main.log``

Nothing here imports torch, so that a wrong file is answered at once.
"""
